// The addon imports Node-API from "NODE.EXE". The host may have another name (Electron, a renamed or embedded Node), so the
// delayed import of that module is resolved to the running program.
#include <windows.h>

#include <delayimp.h>

#include <cstring>

static FARPROC WINAPI resolve_host(unsigned int event, DelayLoadInfo * info) {
    if (event != dliNotePreLoadLibrary || _stricmp(info->szDll, "node.exe") != 0) return nullptr;
    return reinterpret_cast<FARPROC>(GetModuleHandleW(nullptr));
}

extern "C" const PfnDliHook __pfnDliNotifyHook2 = resolve_host;
