// The addon imports Node-API from "NODE.EXE". A host may have any other name (Electron, a renamed or embedded Node): answer the
// delayed import of that module with the program that is running.
#include <windows.h>

#include <delayimp.h>

#include <cstring>

static FARPROC WINAPI resolve_host(unsigned int event, DelayLoadInfo * info) {
    if (event != dliNotePreLoadLibrary || _stricmp(info->szDll, "node.exe") != 0) return nullptr;
    return reinterpret_cast<FARPROC>(GetModuleHandleW(nullptr));
}

extern "C" const PfnDliHook __pfnDliNotifyHook2 = resolve_host;
