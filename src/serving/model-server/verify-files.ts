import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { ModelNotServableError } from '../../kernel/model/errors.ts'
import type { OnnxModel } from '../../kernel/model/onnx-model.ts'
import { DigestMismatchError } from './errors.ts'

/** @throws ModelNotServableError where it can't be read, DigestMismatchError */
export async function verifyFile(path: string, digest: string): Promise<void> {
  const hash = createHash('sha256')
  try {
    await pipeline(createReadStream(path), hash)
  } catch (cause) {
    throw new ModelNotServableError({
      code: 'MR_MODEL_MISSING',
      message: `Cannot read the model ${path}: ${(cause as Error).message}.`,
      fix: 'Restore the artifact from a backup, or train the version again.',
      cause,
    })
  }
  const actual = `sha256:${hash.digest('hex')}`
  if (actual !== digest) throw new DigestMismatchError(path, digest, actual)
}

/** The same for the files that hold a model's weights. */
export async function verifyWeights(
  { path, externalDigests = {} }: { path: string; externalDigests?: Record<string, string> },
  model: OnnxModel,
): Promise<void> {
  for (const file of model.facts.externalFiles) {
    const digest = externalDigests[file] ?? externalDigests[normalize(file)]
    if (digest === undefined) {
      throw new ModelNotServableError({
        code: 'MR_MODEL_EXTERNAL_DATA',
        message: `${path} keeps weights in '${file}', which was not registered with it.`,
        fix: 'Export the model as one file (external_data=False).',
      })
    }
    await verifyFile(join(dirname(path), file), digest)
  }
}
