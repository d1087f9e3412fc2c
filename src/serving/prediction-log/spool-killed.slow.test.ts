import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { env } from 'node:process'
import { describe, expect, it } from 'vitest'
import { parsePredictionId } from '../../kernel/contract/prediction-id.ts'
import { runIngestJob } from '../../kernel/lake/ingest.ts'
import { lakeTotals, reconcile } from '../../kernel/lake/lake-totals.ts'
import { runQueryJob } from '../../kernel/lake/query.ts'
import { spoolBacklog } from '../../kernel/lake/spool-backlog.ts'

/** More by MILLRACE_CRASH_ROUNDS. */
const ROUNDS = Number(env['MILLRACE_CRASH_ROUNDS'] ?? 10)

interface Gateway {
  acknowledged: string[]
  kill(): Promise<void>
}

async function startGateway(spoolDir: string, instance: string): Promise<Gateway> {
  const script = join(import.meta.dirname, 'spool-child.ts')
  const child = spawn(process.execPath, [script, spoolDir, instance, '8'], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  const closed = once(child, 'close')
  const gateway: Gateway = {
    acknowledged: [],
    async kill() {
      child.kill('SIGKILL')
      await closed
      // The last line may be cut: it was acknowledged, but nobody was told its id.
      gateway.acknowledged = output.split('\n').filter((line) => parsePredictionId(line) !== null)
    },
  }
  await expect.poll(() => output, { timeout: 30_000, interval: 10 }).toContain('ready')
  return gateway
}

describe('a gateway in durable mode that is killed by SIGKILL', () => {
  it(`loses and doubles nothing that it acknowledged, ${ROUNDS} times over, with an ingest running beside it`, async () => {
    const root = await mkdtemp(join(tmpdir(), 'millrace-killed-'))
    const [spoolDir, lakeDir] = [join(root, 'spool'), join(root, 'lake')]
    const acknowledged: string[] = []
    for (let round = 0; round < ROUNDS; round++) {
      // Two at once, one that comes back under its name and one that never does.
      const gateways = await Promise.all([
        startGateway(spoolDir, 'gateway'),
        startGateway(spoolDir, `gateway-${round}`),
      ])
      const ingest = round % 2 === 0 ? runIngestJob({ spoolDir, lakeDir, threads: 1 }) : null
      await new Promise((resolve) => setTimeout(resolve, 30 + Math.random() * 300))
      await Promise.all(gateways.map((gateway) => gateway.kill()))
      for (const gateway of gateways) acknowledged.push(...gateway.acknowledged)
      await ingest
    }
    await runIngestJob({ spoolDir, lakeDir })
    await writeFile(join(root, 'acknowledged.csv'), ['id', ...acknowledged, ''].join('\n'))
    const sql = `SELECT
      (SELECT count(*) FROM predictions) AS held,
      (SELECT count(DISTINCT prediction_id) FROM predictions) AS distinct_held,
      (SELECT count(*) FROM 'acknowledged.csv' WHERE id NOT IN (SELECT prediction_id FROM predictions WHERE label = 1)) AS lost`
    const [[held, distinctHeld, lost] = []] = (await runQueryJob({ lakeDir, root, sql, asOfMs: 0 })).rows
    expect(acknowledged.length).toBeGreaterThan(ROUNDS * 50)
    expect(lost).toBe(0)
    expect(held).toBe(distinctHeld)
    expect(held).toBeGreaterThanOrEqual(acknowledged.length)
    const found = reconcile(await lakeTotals(lakeDir), await spoolBacklog(spoolDir), Date.now())
    expect(found).toMatchObject({ why: null, agrees: true, inLake: held, logged: held, inSpool: 0 })
    await rm(root, { recursive: true })
  })
})
