// A model server in a few lines, as somebody might bring their own: reads $MILLRACE_MODEL_DIR/weights.json
// ({"weights": [1, -2], "bias": 0}) and answers the Open Inference Protocol v2 on $PORT: x [N, K] → probability [N, 1].
// For tests of what goes wrong: TROUBLE=exit | mute | unready | no-metadata | wrong; `crash` in the id ends it.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const { MILLRACE_MODEL_DIR: dir, MILLRACE_MODEL_NAME: name, PORT: port, TROUBLE: trouble = '' } = process.env
const { weights, bias } = JSON.parse(readFileSync(`${dir}/weights.json`, 'utf8'))
if (trouble === 'exit') {
  console.error('no licence for this machine')
  process.exit(3)
}

const at = `/v2/models/${encodeURIComponent(name)}`
const metadata = {
  name,
  versions: [],
  platform: 'by-hand',
  inputs: trouble === 'no-metadata' ? [] : [{ name: 'x', datatype: 'FP32', shape: [-1, weights.length] }],
  outputs: [{ name: 'probability', datatype: 'FP32', shape: [-1, 1] }],
}

function predict({ id, inputs }) {
  if (id === 'crash') process.exit(1)
  const { shape, data } = inputs.find((input) => input.name === 'x')
  const flat = data.flat()
  const scores = Array.from({ length: shape[0] }, (_, row) => {
    const sum = weights.reduce((total, weight, i) => total + weight * flat[row * weights.length + i], bias)
    return 1 / (1 + Math.exp(-sum))
  })
  const shown = trouble === 'wrong' ? scores.map((score) => score / 2) : scores
  const outputs = [{ name: 'probability', datatype: 'FP32', shape: [scores.length, 1], data: shown }]
  return { model_name: name, ...(id === undefined ? {} : { id }), outputs }
}

const server = createServer((request, response) => {
  if (trouble === 'mute') return
  const say = (status, body) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(body))
  }
  const path = `${request.method} ${request.url}`
  if (path === 'GET /v2/health/live') return say(200, { live: true })
  if (path === 'GET /v2/health/ready') return say(trouble === 'unready' ? 503 : 200, { ready: trouble !== 'unready' })
  if (path === `GET ${at}/ready`) return say(200, { name, ready: true })
  if (path === `GET ${at}`) return say(200, metadata)
  if (path !== `POST ${at}/infer`) return say(404, { error: `there is no ${path}` })
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    try {
      say(200, predict(JSON.parse(Buffer.concat(chunks))))
    } catch (error) {
      say(400, { error: error.message })
    }
  })
})
server.listen(Number(port), '127.0.0.1', () => console.log(`listening on ${port}`))
process.on('SIGTERM', () => server.close(() => process.exit(0)))
