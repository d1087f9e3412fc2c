import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadAverage, machine, versions } from '../machine.ts'
import { DataPlane, inferPath, routeTo } from './data-plane.ts'
import { driveMeasured } from './drive.ts'
import { writeSmallModel } from './models.ts'
import { CORES } from './pinned.ts'
import { profileTable, selfTimes } from './profile.ts'

const WARM_MS = 5_000
const COUNT_MS = 20_000
const INTERVAL_US = 250

/** Both processes under `node --cpu-prof`, with the load of P3: where their time goes, start-up included. */
export async function writeServingProfile(outDir: string, note: (text: string) => void): Promise<void> {
  const plane = await DataPlane.open()
  const loadBefore = loadAverage()
  try {
    const folders = { gateway: join(plane.dir, 'gateway-profile'), server: join(plane.dir, 'server-profile') }
    const nodeArgs = (folder: string): string[] => {
      mkdirSync(folder)
      return ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-interval=${INTERVAL_US}`]
    }
    const model = writeSmallModel(plane.dir)
    const server = await plane.modelServer({ cores: CORES.back, model, nodeArgs: nodeArgs(folders.server) })
    const route = routeTo(model, [server.replica])
    const gateway = await plane.gateway([route], { cores: CORES.front, nodeArgs: nodeArgs(folders.gateway) })
    const order = { port: gateway.port, path: inferPath(model), body: model.body, connections: 32, cores: CORES.any }
    const driven = await driveMeasured({ ...order, warmMs: WARM_MS, countMs: COUNT_MS }, [gateway.pid, server.pid])
    await gateway.stop()
    await server.stop()
    const requests = (driven.requestsPerSecond * (WARM_MS + COUNT_MS)) / 1_000
    note(`${Math.round(driven.requestsPerSecond)} requests/s while profiled`)
    const [gatewayUs = 0, serverUs = 0] = driven.processorUs
    const { cores, cpu, loadAverage: load } = machine(loadBefore)
    const { node, millrace, commit } = versions()
    writeFileSync(
      join(outDir, 'serving-profile.md'),
      `# Where the time of serving goes

Made by \`npm run bench:serving -- --profile\`: self time by function (what it calls is not in it) of both processes under
\`node --cpu-prof\`, at 32 connections, each request of 10 numbers in JSON, prediction log relaxed. By processor time the
gateway took ${gatewayUs.toFixed(1)} µs a request and the model server ${serverUs.toFixed(1)} µs, the profiler's own cost
included. The tables count all samples that are not idle, waiting for a processor among them: on a busy machine they are
too large, and only their shares say something.

${new Date().toISOString().slice(0, 10)}, ${cores} × ${cpu}, load ${load.before} before, ${load.after} after; Node ${node}, Millrace ${millrace}${commit === null ? '' : ` (${commit})`}.

${profileTable('Gateway', selfTimes(folders.gateway), requests)}
${profileTable('Model server', selfTimes(folders.server), requests)}`,
    )
  } finally {
    await plane.close()
  }
}
