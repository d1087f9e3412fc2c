import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { chmod, mkdir, open, readFile } from 'node:fs/promises'
import path from 'node:path'

/** Where the control API's bearer token is kept: readable by the owner alone. */
export const tokenPath = (dataDir: string): string => path.join(dataDir, 'api-token')

/** The installation's bearer token for the control API on TCP; made at first use. */
export async function ensureApiToken(dataDir: string): Promise<string> {
  await mkdir(dataDir, { recursive: true })
  const file = tokenPath(dataDir)
  try {
    const handle = await open(file, 'wx', 0o600)
    try {
      await handle.writeFile(`mr_${randomBytes(24).toString('base64url')}\n`)
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    await chmod(file, 0o600)
  }
  return (await readFile(file, 'utf8')).trim()
}

/** Compares in constant time, whatever the lengths. */
export function sameSecret(a: string, b: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(a), hash(b))
}

export const randomSecret = (): string => randomBytes(24).toString('base64url')
