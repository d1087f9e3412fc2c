import { connect } from 'node:net'
import type { Socket } from 'node:net'

/**
 * A process with many connections that do next to nothing: `fork(…, [port, count])`. Each asks once, then is silent. It
 * sends how many were answered, then, for any message, how many are still open.
 */
const [port, count] = process.argv.slice(2).map(Number) as [number, number]
/** Beyond it, connections would wait in the server's queue of those that are to be accepted, and be dropped. */
const AT_ONCE = 200
const open = new Set<Socket>()
let answered = 0
let begun = 0

function next(): void {
  if (begun === count) return
  begun += 1
  const socket = connect(port, '127.0.0.1', () => socket.write('GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n'))
  open.add(socket)
  socket.on('error', () => undefined) // 'close' follows
  socket.on('close', () => open.delete(socket))
  socket.once('data', () => {
    answered += 1
    if (answered === count) process.send?.(answered)
    next()
  })
}

for (let i = 0; i < AT_ONCE; i += 1) next()
process.on('message', () => process.send?.(open.size))
process.on('disconnect', () => process.exit())
