// A preparing step in a few lines, as somebody might bring their own: name BYTES [N, 1], size FP32 [N, 1] → x FP32 [N, 2],
// [length of the name, size · factor]; the factor stands in $MILLRACE_MODEL_DIR/factor.json where the training left one.
// For tests of what goes wrong: TROUBLE=exit | mute | other-outputs | fewer-rows | nonsense | nan. A name asks for trouble in one request:
// refuse (422), fail (500), busy (503), slow, hang, die, huge.
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const { MILLRACE_MODEL_DIR: dir, MILLRACE_MODEL_NAME: name, PORT: port, TROUBLE: trouble = '' } = process.env
const file = `${dir}/factor.json`
const factor = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : 1
if (trouble === 'exit') {
  console.error('no licence for this machine')
  process.exit(3)
}

const at = `/v2/models/${encodeURIComponent(name)}`
const metadata = {
  name,
  versions: [],
  platform: 'by-hand',
  inputs: [
    { name: 'name', datatype: 'BYTES', shape: [-1, 1] },
    { name: 'size', datatype: 'FP32', shape: [-1, 1] },
  ],
  outputs:
    trouble === 'other-outputs'
      ? [{ name: 'features', datatype: 'FP64', shape: [-1, 3] }]
      : [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }],
}

function prepare({ inputs }) {
  const values = (input) => inputs.find((one) => one.name === input).data.flat()
  const [names, sizes] = [values('name'), values('size')]
  const rows = names.map((text, row) => [text.length, trouble === 'nan' ? null : sizes[row] * factor])
  const kept = trouble === 'fewer-rows' ? rows.slice(1) : rows
  return { model_name: name, outputs: [{ name: 'x', datatype: 'FP32', shape: [kept.length, 2], data: kept.flat() }] }
}

const server = createServer((request, response) => {
  if (trouble === 'mute') return
  const say = (status, body) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }
  const path = `${request.method} ${request.url}`
  if (path === 'GET /v2/health/ready') return say(200, { ready: true })
  if (path === `GET ${at}/ready`) return say(200, { name, ready: true })
  if (path === `GET ${at}`) return say(200, metadata)
  if (path !== `POST ${at}/infer`) return say(404, { error: `there is no ${path}` })
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    const asked = JSON.parse(Buffer.concat(chunks))
    const [first] = asked.inputs.find((input) => input.name === 'name').data
    if (first === 'refuse') return say(422, { detail: `nobody is called "${first}"` })
    if (first === 'fail') return say(500, { error: 'the lookup broke' })
    if (first === 'busy') return say(503, { error: 'later' })
    if (first === 'hang') return
    if (first === 'die') process.exit(1)
    if (first === 'huge') return say(200, `{"outputs":[{"name":"x","data":[${'1,'.repeat(2_000)}1]}]}`)
    if (trouble === 'nonsense') return say(200, '<html>')
    setTimeout(() => say(200, prepare(asked)), first === 'slow' ? 300 : 0)
  })
})
server.listen(Number(port), '127.0.0.1', () => console.log(`listening on ${port}, pid ${process.pid}`))
process.on('SIGTERM', () => server.close(() => process.exit(0)))
