import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { smallDisk } from '../../testing/small-disk.ts'
import { writeFileAtomic as writeForLake } from '../lake/durable-files.ts'
import { writeFileAtomic } from './atomic-file.ts'

const disk = smallDisk(256 * 1024)
afterEach(() => disk?.empty())
afterAll(() => disk?.remove())

const at = (name: string): string => join(disk!.path, name)
const full = expect.objectContaining({ code: 'ENOSPC' }) as Error

describe.runIf(disk !== null)('on a disk that is full', () => {
  it('what means nothing after a power cut takes the place of what was there', () => {
    writeFileSync(at('record.json'), JSON.stringify({ pid: 1, token: 'longer' }))
    disk!.fill()
    for (const record of [{ pid: 2 }, { pid: 3, token: 'much longer than what was there before' }]) {
      writeFileAtomic(at('record.json'), JSON.stringify(record), { durable: false })
      expect(JSON.parse(readFileSync(at('record.json'), 'utf8'))).toEqual(record)
    }
  })

  it('nothing is changed where there is nothing to take the place of, or too little, or it must be durable', () => {
    writeFileSync(at('small.json'), '{"kept":true}')
    disk!.fill()
    const large = JSON.stringify('x'.repeat(100_000))
    expect(() => writeFileAtomic(at('new.json'), '{}', { durable: false })).toThrow(full)
    expect(() => writeFileAtomic(at('small.json'), large, { durable: false })).toThrow(full)
    expect(() => writeFileAtomic(at('small.json'), '{}')).toThrow(full)
    expect(readFileSync(at('small.json'), 'utf8')).toBe('{"kept":true}')
  })

  it('tries leave no files behind', async () => {
    disk!.fill()
    for (let time = 0; time < 3; time += 1) {
      await expect(writeForLake(at('counters.json'), '{}')).rejects.toThrow(full)
      expect(() => writeFileAtomic(at('new.json'), '{}')).toThrow(full)
    }
    expect(readdirSync(disk!.path).filter((name) => name.includes('tmp') || name.includes('counters'))).toEqual([])
  })
})
