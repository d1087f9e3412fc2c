import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openFsArtifacts } from './fs-artifacts.ts'

/**
 * Puts again what was put long ago, while it is being removed for that, over and over. Says `old` before it makes it old,
 * and `put` once it was put again: from then on it must be there.
 */
const source = (place: string) => `
import { utimesSync, writeSync } from 'node:fs'
import { openFsArtifacts } from ${JSON.stringify(new URL('./fs-artifacts.ts', import.meta.url).href)}
const place = ${JSON.stringify(place)}
const artifacts = openFsArtifacts(place)
const say = (text) => writeSync(1, text + '\\n')
for (let i = 0; ; i++) {
  const bytes = Buffer.from('content ' + (i % 5))
  const { digest } = await artifacts.putBytes(bytes)
  const hex = digest.slice('sha256:'.length)
  say('old ' + digest)
  utimesSync(place + '/sha256/' + hex.slice(0, 2) + '/' + hex, 1, 1)
  const removing = artifacts.remove(digest, { unusedForMs: 60_000 })
  await artifacts.putBytes(bytes)
  say('put ' + digest)
  await removing
}
`
const KILLS = 25

let place: string
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'millrace-artifacts-'))
})
afterEach(() => rmSync(place, { recursive: true, force: true }))

it('has everything that was put, whenever its process is killed while removing what it puts', async () => {
  const script = join(place, 'child.ts')
  writeFileSync(script, source(place))
  const last = new Map<string, string>()
  let turns = 0
  for (let kill = 0; kill < KILLS; kill++) {
    const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
    let text = ''
    const begun = Promise.withResolvers<void>()
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      begun.resolve()
    })
    const ended = new Promise((resolve) => child.on('close', resolve))
    await Promise.race([begun.promise, ended])
    await sleep((kill * 7) % 40)
    child.kill('SIGKILL')
    await ended
    for (const [, what, digest] of text.matchAll(/^(old|put) (sha256:[0-9a-f]{64})$/gm)) {
      last.set(digest!, what!)
      turns++
    }
    const artifacts = openFsArtifacts(place)
    for (const [digest, what] of last) if (what === 'put') await artifacts.verifiedPath(digest)
  }
  expect(turns).toBeGreaterThan(KILLS)
  expect([...last.values()]).toContain('put')
})
