import { rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { FRAME_KIND, PREFACE } from '../../../src/kernel/contract/frames.ts'
import { FrameReader } from '../../../src/serving/frames/frame-reader.ts'
import { headersText } from '../../../src/serving/frames/frames.ts'
import { Outbox } from '../../../src/serving/frames/outbox.ts'

/**
 * The upstream of what is compared, in a process of its own: over TCP it speaks just enough HTTP for nginx, on a unix
 * socket it speaks frames for the gateway. Both get the same answer, at once or after so many busy milliseconds.
 *
 *   node instant-upstream.ts <frames path> <busy ms>        its HTTP port goes to the parent
 */
const [framesPath = '', busy = '0'] = process.argv.slice(2)
const busyMs = Number(busy)
const BODY = Buffer.from(
  '{"model_name":"small","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1,1],"data":[0.12345678]}]}',
)
const HEADERS = headersText(['content-type', 'application/json', 'millrace-model-version', '1'])
const ANSWER = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY.toString()}`
const HEAD_END = Buffer.from('\r\n\r\n')

/** As a model that computes so long, one request after the other. */
function compute(): void {
  if (busyMs === 0) return
  const endMs = performance.now() + busyMs
  while (performance.now() < endMs);
}

const http = createServer({ noDelay: true }, (socket) => {
  let rest: Buffer | null = null
  socket.on('error', () => socket.destroy()) // a client that went away
  socket.on('data', (bytes) => {
    const all: Buffer = rest === null ? bytes : Buffer.concat([rest, bytes])
    let at = 0
    let answers = ''
    for (;;) {
      const headEnd = all.indexOf(HEAD_END, at)
      if (headEnd < 0) break
      const length = Number(/content-length: *(\d+)/i.exec(all.toString('latin1', at, headEnd))?.[1] ?? 0)
      const end = headEnd + 4 + length
      if (end > all.length) break
      compute()
      answers += ANSWER
      at = end
    }
    if (answers !== '') socket.write(answers, 'latin1')
    rest = at === all.length ? null : all.subarray(at)
  })
})

const frames = createServer({ noDelay: true }, (socket) => {
  const outbox = new Outbox(socket, 'now')
  let hasPreface = false
  const reader = new FrameReader({
    accepts: () => true,
    frame(id, kind) {
      if (kind === FRAME_KIND.probe) outbox.probed(id, true)
      if (kind !== FRAME_KIND.request) return
      compute()
      outbox.answer(id, 200, null, HEADERS, BODY)
    },
  })
  socket.on('error', () => socket.destroy()) // a gateway that went away
  socket.on('data', (bytes) => {
    reader.push(hasPreface ? bytes : bytes.subarray(PREFACE.length))
    hasPreface = true
  })
})

rmSync(framesPath, { force: true })
frames.listen(framesPath, () => http.listen(0, '127.0.0.1', () => process.send?.(http.address())))
