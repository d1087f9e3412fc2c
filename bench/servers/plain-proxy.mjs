// A reverse proxy as one writes it with node:http alone: node plain-proxy.mjs <port> <upstream port>
import { Agent, createServer, request } from 'node:http'

const [port, upstreamPort] = process.argv.slice(2).map(Number)
const agent = new Agent({ keepAlive: true, maxSockets: 64 })

createServer((incoming, outgoing) => {
  const { method, url: path, headers } = incoming
  const asked = request({ host: '127.0.0.1', port: upstreamPort, method, path, headers, agent }, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers)
    answer.pipe(outgoing)
  })
  asked.on('error', () => outgoing.writeHead(502).end())
  incoming.pipe(asked)
}).listen(port, '127.0.0.1')
