/** `process.parentPort`, as Electron's utility processes have it, over the channel of a child process. */
process.parentPort = {
  postMessage: (message) => process.send(message),
  on: (event, listener) => process.on(event, (data) => listener({ data })),
}
