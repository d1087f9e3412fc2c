import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const canMount = userInfo().uid === 0 && spawnSync('unshare', ['-m', 'sh', '-c', 'command -v mount']).status === 0
const urlOf = (path: string) => JSON.stringify(new URL(path, import.meta.url).href)

it.skipIf(!canMount)(
  'says that the disk of the data directory is full, and not that the project can not be read (needs root to mount one)',
  () => {
    const work = mkdtempSync(join(tmpdir(), 'millrace-snapshot-'))
    const [root, dataDir] = [join(work, 'project'), join(work, 'data')]
    for (const dir of [root, dataDir]) mkdirSync(dir)
    writeFileSync(join(root, 'code.py'), Buffer.alloc(3_000_000, 1))
    const script = join(work, 'script.ts')
    writeFileSync(
      script,
      `import { openFsArtifacts } from ${urlOf('../../kernel/artifacts/fs/fs-artifacts.ts')}
    import { snapshotCode } from ${urlOf('./code-snapshot.ts')}
    const dataDir = ${JSON.stringify(dataDir)}
    const artifacts = openFsArtifacts(dataDir + '/artifacts')
    await snapshotCode({ root: ${JSON.stringify(root)}, ignore: [], dataDir }, artifacts).catch((e) => console.log(e.code, e.message))`,
    )
    const shell = `mount -t tmpfs -o size=1m none '${dataDir}' && '${process.execPath}' '${script}'`
    const said = execFileSync('unshare', ['-m', 'sh', '-c', shell], { encoding: 'utf8' }).trim()
    expect(said).toBe(`MR_DATA_DIR Cannot use '${dataDir}': the disk is full (ENOSPC).`)
    rmSync(work, { recursive: true })
  },
)
