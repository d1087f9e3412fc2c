import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const canMount = userInfo().uid === 0 && spawnSync('unshare', ['-m', 'sh', '-c', 'command -v mount']).status === 0

it.skipIf(!canMount)(
  'says that the disk is full, leaves nothing half-written, and goes on (needs root for a small file system)',
  () => {
    const work = mkdtempSync(join(tmpdir(), 'millrace-full-'))
    const place = join(work, 'mount')
    mkdirSync(place)
    writeFileSync(join(work, 'big'), Buffer.alloc(3_000_000, 1))
    const script = join(work, 'script.ts')
    writeFileSync(
      script,
      `import { openFsArtifacts } from ${JSON.stringify(new URL('./fs-artifacts.ts', import.meta.url).href)}
    import { readdirSync } from 'node:fs'
    const artifacts = openFsArtifacts(${JSON.stringify(place)})
    const say = (e) => console.log(e.code, e.message)
    await artifacts.putFile(${JSON.stringify(join(work, 'big'))}).catch(say)
    await artifacts.putBytes(new Uint8Array(3_000_000)).catch(say)
    console.log(readdirSync(${JSON.stringify(join(place, 'tmp'))}).length, 'left')
    const small = await artifacts.putBytes(new Uint8Array(1_000))
    console.log((await artifacts.readBytes(small.digest)).length)`,
    )
    const shell = `mount -t tmpfs -o size=2m none '${place}' && '${process.execPath}' '${script}'`
    const lines = execFileSync('unshare', ['-m', 'sh', '-c', shell], { encoding: 'utf8' }).trim().split('\n')
    const full = expect.stringMatching(/^MR_DATA_DIR .*the disk is full \(ENOSPC\)/)
    expect(lines).toEqual([full, full, '0 left', '1000'])
    rmSync(work, { recursive: true })
  },
)
