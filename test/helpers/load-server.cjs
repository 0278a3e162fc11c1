/** A server in a process of its own, for tests that measure it. It says its port, and then its memory whenever it is asked. */
const { createServer } = require('../../packages/server/dist/index.js')

createServer({ port: 0, page: false, graceMs: 0, ...JSON.parse(process.argv[2]) }).then((server) => {
  process.on('message', async (message) => {
    if (message === 'memory') process.send({ rss: process.memoryUsage().rss })
    else {
      await server.close()
      process.disconnect()
    }
  })
  process.send({ port: server.port })
})
