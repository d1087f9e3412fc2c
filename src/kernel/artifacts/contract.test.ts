import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Artifacts } from './artifacts.ts'
import { openFsArtifacts } from './fs/fs-artifacts.ts'
import { encodeTree } from './tree.ts'

interface Backend {
  name: string
  open: (place: string) => Artifacts
  /** Changes the stored bytes behind the store's back. */
  damage: (place: string, digest: string) => void
}

const backends: Backend[] = [
  {
    name: 'fs',
    open: openFsArtifacts,
    damage(place, digest) {
      const hex = digest.slice('sha256:'.length)
      const path = join(place, 'sha256', hex.slice(0, 2), hex)
      chmodSync(path, 0o644)
      writeFileSync(path, 'something else')
    },
  },
]

const HELLO = 'sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824'

describe.each(backends)('artifacts ($name)', ({ open, damage }) => {
  let place: string
  let work: string
  let artifacts: Artifacts
  beforeEach(() => {
    place = mkdtempSync(join(tmpdir(), 'millrace-artifacts-'))
    work = mkdtempSync(join(tmpdir(), 'millrace-work-'))
    artifacts = open(place)
  })
  afterEach(() => {
    rmSync(place, { recursive: true, force: true })
    rmSync(work, { recursive: true, force: true })
  })

  it('removes what was put long ago, once, and keeps what was put again meanwhile', async () => {
    const { digest } = await artifacts.putBytes(Buffer.from('hello'))
    expect(await artifacts.remove(digest, { unusedForMs: 60_000 })).toBe('recent')
    const hex = digest.slice('sha256:'.length)
    utimesSync(join(place, 'sha256', hex.slice(0, 2), hex), 1, 1)
    await artifacts.putBytes(Buffer.from('hello'))
    expect(await artifacts.remove(digest, { unusedForMs: 60_000 })).toBe('recent')
    utimesSync(join(place, 'sha256', hex.slice(0, 2), hex), 1, 1)
    expect(await artifacts.remove(digest, { unusedForMs: 60_000 })).toBe('removed')
    expect(await artifacts.remove(digest, { unusedForMs: 60_000 })).toBe('gone')
    expect(await artifacts.has(digest)).toBe(false)
  })

  it('never loses what is put while it is being removed', async () => {
    const bytes = Buffer.from('hello')
    const hex = HELLO.slice('sha256:'.length)
    await artifacts.putBytes(bytes)
    for (let i = 0; i < 300; i++) {
      utimesSync(join(place, 'sha256', hex.slice(0, 2), hex), 1, 1)
      const [, removed] = await Promise.all([
        artifacts.putBytes(bytes),
        // At every point of the put, from before it to after it.
        sleep((i % 30) / 10).then(() => artifacts.remove(HELLO, { unusedForMs: 60_000 })),
      ])
      expect([removed, await artifacts.has(HELLO)]).toEqual([expect.stringMatching(/^(removed|recent|gone)$/), true])
    }
  })

  it('renews a file, and a directory with its files, as if they were put again', async () => {
    file('tree/a')
    const { digest } = await artifacts.putDir(dir(), { ignore: [] })
    for await (const kept of artifacts.list()) {
      const hex = kept.digest.slice('sha256:'.length)
      utimesSync(join(place, 'sha256', hex.slice(0, 2), hex), 1, 1)
    }
    await artifacts.renew(digest)
    const ages = (await Array.fromAsync(artifacts.list())).map(({ ageMs }) => ageMs)
    expect(ages).toHaveLength(2)
    expect(Math.max(...ages)).toBeLessThan(600_000)
    await expect(artifacts.renew(HELLO)).rejects.toMatchObject({ code: 'MR_ARTIFACT_NOT_FOUND' })
  })

  it('lists all that is kept with its size, and nothing where there is nothing', async () => {
    expect(await Array.fromAsync(artifacts.list())).toEqual([])
    await artifacts.putBytes(Buffer.from('hello'))
    expect(await Array.fromAsync(artifacts.list())).toEqual([
      { digest: HELLO, sizeBytes: 5, ageMs: expect.any(Number) as unknown },
    ])
  })

  const file = (path: string, content = path) => {
    mkdirSync(join(work, path, '..'), { recursive: true })
    writeFileSync(join(work, path), content)
    return join(work, path)
  }
  const dir = () => join(work, 'tree')

  it('names bytes by their digest and gives them back', async () => {
    const stored = await artifacts.putBytes(new TextEncoder().encode('hello'))
    expect(stored).toEqual({ digest: HELLO, sizeBytes: 5 })
    expect(new TextDecoder().decode(await artifacts.readBytes(HELLO))).toBe('hello')
    expect(await artifacts.has(HELLO)).toBe(true)
    expect(await artifacts.sizeOf(HELLO)).toBe(5)
  })

  it('gives a file the same digest as its bytes, also the empty one, however often it is put', async () => {
    const put = await Promise.all([1, 2, 3, 4].map(() => artifacts.putFile(file('a', 'hello'))))
    expect(put.map((stored) => stored.digest)).toEqual([HELLO, HELLO, HELLO, HELLO])
    expect(readFileSync(await artifacts.verifiedPath(HELLO), 'utf8')).toBe('hello')
    const empty = await artifacts.putBytes(new Uint8Array())
    expect(await artifacts.readBytes(empty.digest)).toHaveLength(0)
  })

  it('says so where an artifact is not there', async () => {
    expect(await artifacts.has(HELLO)).toBe(false)
    await expect(artifacts.readBytes(HELLO)).rejects.toMatchObject({ code: 'MR_ARTIFACT_NOT_FOUND' })
    await expect(artifacts.verifiedPath(HELLO)).rejects.toMatchObject({ code: 'MR_ARTIFACT_NOT_FOUND' })
    await expect(artifacts.sizeOf(HELLO)).rejects.toMatchObject({ code: 'MR_ARTIFACT_NOT_FOUND' })
    await expect(artifacts.putFile(join(work, 'nothing'))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('never hands out bytes that have changed, and heals them when they are put again', async () => {
    await artifacts.putBytes(new TextEncoder().encode('hello'))
    damage(place, HELLO)
    await expect(artifacts.verifiedPath(HELLO)).rejects.toMatchObject({ code: 'MR_ARTIFACT_CORRUPT' })
    await expect(artifacts.readBytes(HELLO)).rejects.toMatchObject({ code: 'MR_ARTIFACT_CORRUPT' })
    await artifacts.putBytes(new TextEncoder().encode('hello'))
    expect(new TextDecoder().decode(await artifacts.readBytes(HELLO))).toBe('hello')
  })

  it.each([
    '../../etc/passwd',
    'sha256:../../../../etc/passwd',
    `sha256:${'A'.repeat(64)}`,
    `sha256:${'a'.repeat(63)}`,
    `sha256:${'a'.repeat(64)}/../x`,
    `sha256:${'a'.repeat(64)}\n`,
    '',
  ])('refuses %j as a digest', async (digest) => {
    const calls = [
      artifacts.has(digest),
      artifacts.readBytes(digest),
      artifacts.verifiedPath(digest),
      artifacts.sizeOf(digest),
      artifacts.materialiseDir(digest, join(work, 'out')),
    ]
    for (const call of calls) await expect(call).rejects.toMatchObject({ code: 'MR_ARTIFACT_DIGEST' })
  })

  it('keeps a directory with odd names, executables, links and empty folders', async () => {
    file('tree/a b/ü\n"x\'.txt', '1')
    chmodSync(file('tree/run.sh', '#!/bin/sh'), 0o755)
    mkdirSync(join(dir(), 'empty/inner'), { recursive: true })
    symlinkSync('../run.sh', join(dir(), 'a b/link'))
    symlinkSync('not there', join(dir(), 'dangling'))
    const stored = await artifacts.putDir(dir(), { ignore: [] })
    expect(stored).toMatchObject({ files: 2, contentBytes: 10, leftOut: [] })

    const out = join(work, 'out')
    await artifacts.materialiseDir(stored.digest, out)
    expect(readFileSync(join(out, 'a b/ü\n"x\'.txt'), 'utf8')).toBe('1')
    expect(statSync(join(out, 'run.sh')).mode & 0o777).toBe(0o755)
    expect(readlinkSync(join(out, 'a b/link'))).toBe('../run.sh')
    expect(readlinkSync(join(out, 'dangling'))).toBe('not there')
    expect(readdirSync(join(out, 'empty'))).toEqual(['inner'])
    expect(readdirSync(work)).not.toContainEqual(expect.stringContaining('building'))
  })

  it('gives the same digest for the same content, whatever its times and order', async () => {
    for (const name of ['b', 'a', 'c/d']) file(`tree/${name}`)
    const first = await artifacts.putDir(dir(), { ignore: [] })
    for (const name of ['c/d', 'a', 'b']) utimesSync(file(`again/${name}`, `tree/${name}`), 1, 1)
    const second = await artifacts.putDir(join(work, 'again'), { ignore: [] })
    expect(second.digest).toBe(first.digest)
    file('again/e')
    expect((await artifacts.putDir(join(work, 'again'), { ignore: [] })).digest).not.toBe(first.digest)
  })

  it('leaves out what is ignored, by name at any depth or by path', async () => {
    for (const name of ['keep.py', 'x.pyc', 'deep/y.pyc', 'deep/data/big', 'data/small']) file(`tree/${name}`)
    const stored = await artifacts.putDir(dir(), { ignore: ['*.pyc', 'deep/data'] })
    const { entries } = await artifacts.readTree(stored.digest)
    expect(entries.map((entry) => entry.path)).toEqual(['data/small', 'keep.py'])
  })

  it('names pipes and sockets that it leaves out', async () => {
    file('tree/a')
    execFileSync('mkfifo', [join(dir(), 'pipe')])
    expect(await artifacts.putDir(dir(), { ignore: [] })).toMatchObject({ files: 1, leftOut: ['pipe'] })
  })

  it.each(['/etc/passwd', '../outside', 'inner/../../outside'])('refuses a link to %s', async (target) => {
    file('tree/a')
    symlinkSync(target, join(dir(), 'link'))
    const putting = artifacts.putDir(dir(), { ignore: [] })
    await expect(putting).rejects.toMatchObject({ code: 'MR_ARTIFACT_TREE', message: expect.stringContaining(target) })
    await expect(artifacts.putDir(dir(), { ignore: ['link'] })).resolves.toMatchObject({ files: 1 })
  })

  it.each([
    ['a parent', [{ type: 'file', path: '../x', executable: false, sizeBytes: 5, digest: HELLO }]],
    ['an absolute path', [{ type: 'file', path: '/tmp/x', executable: false, sizeBytes: 5, digest: HELLO }]],
    ['a link outside', [{ type: 'link', path: 'x', target: '../../y' }]],
    [
      'a path through a link',
      [
        { type: 'link', path: 'x', target: 'y' },
        { type: 'dir', path: 'x/z' },
      ],
    ],
    [
      'a path twice',
      [
        { type: 'dir', path: 'x' },
        { type: 'dir', path: 'x' },
      ],
    ],
  ] as const)('writes nothing for a manifest with %s', async (_, entries) => {
    await artifacts.putBytes(new TextEncoder().encode('hello'))
    const { digest } = await artifacts.putBytes(encodeTree(entries))
    const out = join(work, 'out')
    await expect(artifacts.materialiseDir(digest, out)).rejects.toMatchObject({ code: 'MR_ARTIFACT_TREE' })
    expect(readdirSync(work)).toEqual([])
  })

  it('writes a directory out completely or not at all', async () => {
    file('tree/a')
    file('tree/b', 'hello')
    const { digest } = await artifacts.putDir(dir(), { ignore: [] })
    damage(place, HELLO)
    const out = join(work, 'out')
    await expect(artifacts.materialiseDir(digest, out)).rejects.toMatchObject({ code: 'MR_ARTIFACT_CORRUPT' })
    expect(readdirSync(work)).toEqual(['tree'])
  })

  it('does not write over a directory that is there', async () => {
    file('tree/a')
    file('out/mine')
    const { digest } = await artifacts.putDir(dir(), { ignore: [] })
    await expect(artifacts.materialiseDir(digest, join(work, 'out'))).rejects.toThrow(/ENOTEMPTY|EEXIST/)
    expect(readdirSync(join(work, 'out'))).toEqual(['mine'])
  })

  it('keeps what it holds apart from the copies it gives out', async () => {
    file('tree/a', 'hello')
    const { digest } = await artifacts.putDir(dir(), { ignore: [] })
    await artifacts.materialiseDir(digest, join(work, 'out'))
    writeFileSync(join(work, 'out/a'), 'changed')
    await expect(artifacts.verifiedPath(HELLO)).resolves.toBeTypeOf('string')
  })
})

describe('artifacts (fs) on disk', () => {
  it('sweeps what a dead process was writing, and leaves what a living one writes', () => {
    const place = mkdtempSync(join(tmpdir(), 'millrace-artifacts-'))
    openFsArtifacts(place)
    writeFileSync(join(place, 'tmp/4194300-dead'), 'x')
    writeFileSync(join(place, `tmp/${process.pid}-alive`), 'x')
    openFsArtifacts(place)
    expect(readdirSync(join(place, 'tmp'))).toEqual([`${process.pid}-alive`])
    rmSync(place, { recursive: true })
  })

  it('puts back what a dead process was removing, unless it has been put again', async () => {
    const place = mkdtempSync(join(tmpdir(), 'millrace-artifacts-'))
    const artifacts = openFsArtifacts(place)
    const kept = await Promise.all(['one', 'two'].map((text) => artifacts.putBytes(Buffer.from(text))))
    const hexes = kept.map(({ digest }) => digest.slice('sha256:'.length))
    for (const hex of hexes)
      renameSync(join(place, 'sha256', hex.slice(0, 2), hex), join(place, 'tmp', `4194300-of-${hex}`))
    await artifacts.putBytes(Buffer.from('two'))
    const again = openFsArtifacts(place)
    expect(readdirSync(join(place, 'tmp'))).toEqual([])
    const read = await Promise.all(
      kept.map(async ({ digest }) => Buffer.from(await again.readBytes(digest)).toString()),
    )
    expect(read).toEqual(['one', 'two'])
    rmSync(place, { recursive: true })
  })

  it('leaves no temporary file behind', async () => {
    const place = mkdtempSync(join(tmpdir(), 'millrace-artifacts-'))
    const artifacts = openFsArtifacts(place)
    await artifacts.putBytes(new TextEncoder().encode('hello'))
    await artifacts.putBytes(new TextEncoder().encode('hello'))
    await expect(artifacts.putFile('/nowhere')).rejects.toThrow('ENOENT')
    expect(readdirSync(join(place, 'tmp'))).toEqual([])
    rmSync(place, { recursive: true })
  })
})
