import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { ConfigNotFoundError, ConfigUnreadableError } from './errors.ts'
import { findConfig } from './find-config.ts'

const root = realpathSync(mkdtempSync(join(tmpdir(), 'millrace-find-')))
afterAll(() => rmSync(root, { recursive: true, force: true }))
mkdirSync(join(root, 'project'))
writeFileSync(join(root, 'project', 'millrace.yaml'), 'name: x')

describe('looking for the configuration', () => {
  it('finds the only one in a folder', async () => {
    await expect(findConfig(root, 'project')).resolves.toBe(join(root, 'project', 'millrace.yaml'))
  })

  it('says that there is none, also below what is a file', async () => {
    await expect(findConfig(root, 'nowhere')).rejects.toThrow(ConfigNotFoundError)
    await expect(findConfig(root, 'project/millrace.yaml/below')).rejects.toThrow(ConfigNotFoundError)
  })

  it("does not take what can't be looked at for absent", async () => {
    await expect(findConfig(root, 'x'.repeat(300))).rejects.toThrow(ConfigUnreadableError)
    await expect(findConfig(root, 'x'.repeat(300))).rejects.toThrow(/can't be read: ENAMETOOLONG/)
  })
})
