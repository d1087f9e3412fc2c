import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { removeUnusedEnvironments } from './unused-environments.ts'

const DAY_MS = 24 * 3_600_000
const [OLD, NEW, RUIN] = ['a', 'b', 'c'].map((letter) => letter.repeat(32)) as [string, string, string]

let cacheDir: string
beforeEach(() => {
  cacheDir = mkdtempSync(join(tmpdir(), 'millrace-environments-'))
})
afterEach(() => rmSync(cacheDir, { recursive: true, force: true }))

function environment(name: string, ageMs: number, complete = true): void {
  const dir = join(cacheDir, name)
  mkdirSync(join(dir, 'venv'), { recursive: true })
  const then = new Date(Date.now() - ageMs)
  if (complete) {
    writeFileSync(join(dir, 'complete'), '')
    utimesSync(join(dir, 'complete'), then, then)
  }
  utimesSync(dir, then, then)
}
const remove = (used: string[] = []) =>
  removeUnusedEnvironments(cacheDir, 30 * DAY_MS, () => Promise.resolve(new Set(used)))

it('removes what nobody asked for in so long, also what was never finished, and nothing else', async () => {
  environment(OLD, 31 * DAY_MS)
  environment(NEW, 29 * DAY_MS)
  environment(RUIN, 31 * DAY_MS, false)
  environment('of somebody else', 400 * DAY_MS)
  expect((await remove()).toSorted()).toEqual([OLD, RUIN])
  expect(readdirSync(cacheDir).toSorted()).toEqual([NEW, 'of somebody else'])
})

it('keeps what something that runs is in, and asks for that only where there is something to remove', async () => {
  let asked = 0
  const inUse = () => Promise.resolve(new Set([OLD].slice(asked++)))
  environment(NEW, DAY_MS)
  expect(await removeUnusedEnvironments(cacheDir, 30 * DAY_MS, inUse)).toEqual([])
  expect(asked).toBe(0)
  environment(OLD, 31 * DAY_MS)
  expect(await removeUnusedEnvironments(cacheDir, 30 * DAY_MS, inUse)).toEqual([])
  expect(readdirSync(cacheDir).toSorted()).toEqual([OLD, NEW])
})

it('goes on where it was killed: what was asked for meanwhile is put back, or was built anew', async () => {
  environment(OLD, 31 * DAY_MS)
  environment(NEW, 0)
  for (const name of [OLD, NEW]) renameSync(join(cacheDir, name), join(cacheDir, `${name}.removing`))
  expect(await remove()).toEqual([OLD])
  expect(readdirSync(cacheDir)).toEqual([NEW])
  environment(`${NEW}.removing`, 0)
  expect(await remove()).toEqual([])
  expect(readdirSync(cacheDir)).toEqual([NEW])
})

it('finds nothing where none was ever built', async () => {
  rmSync(cacheDir, { recursive: true })
  expect(await remove()).toEqual([])
})
