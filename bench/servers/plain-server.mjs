// A model server as one writes it with node:http alone, one run a request: node plain-server.mjs <port> <model.onnx>
import { createServer } from 'node:http'
import { InferenceSession, Tensor } from 'onnxruntime-node'

const [port, path] = process.argv.slice(2)
const session = await InferenceSession.create(path, { intraOpNumThreads: 1, interOpNumThreads: 1 })

async function infer(text) {
  const { inputs } = JSON.parse(text)
  const feeds = {}
  for (const { name, shape, data } of inputs) feeds[name] = new Tensor('float32', Float32Array.from(data), shape)
  const { y } = await session.run(feeds)
  const output = { name: 'y', datatype: 'FP32', shape: y.dims, data: Array.from(y.data) }
  return JSON.stringify({ model_name: 'small', model_version: '1', outputs: [output] })
}

createServer((incoming, outgoing) => {
  const parts = []
  incoming.on('data', (part) => parts.push(part))
  incoming.on('end', () => {
    infer(Buffer.concat(parts).toString()).then(
      (body) => outgoing.writeHead(200, { 'content-type': 'application/json' }).end(body),
      (error) => outgoing.writeHead(500).end(String(error)),
    )
  })
}).listen(Number(port), '127.0.0.1')
