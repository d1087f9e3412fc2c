import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Artifacts } from '../../kernel/artifacts/artifacts.ts'
import type { PlacedTable } from '../../kernel/features/feature-source.ts'
import { ensureEnvironment } from '../../kernel/runtime/environments.ts'
import type { ModelPlace } from '../../kernel/server/open-runnable.ts'
import type { PreparePlan, ServerPlan } from '../../kernel/server/server-plan.ts'
import { checkOutCode } from '../pipeline/code-snapshot.ts'
import { MODEL_FILE, modelFiles } from './model-files.ts'
import { placedTables } from './version-tables.ts'
import type { Lineage, Version } from './version.ts'
import type { VersionCommand, VersionPrepare } from './version-server.ts'

/**
 * Lays out what a server needs to run, in a folder of its own, which whoever asked removes:
 *
 *   model/       the version's files, a copy: the command may write there
 *   work/        the code of the run that made the version, as its steps had it; of an imported one there is none, and
 *                the command runs in the project's folder
 *   server.log   what it prints
 *
 * @throws ArtifactNotFoundError, ArtifactCorruptError, EnvironmentError
 */
export async function layOutServer(
  { artifacts, dataDir }: { artifacts: Artifacts; dataDir: string },
  version: Pick<Version, 'modelDigest' | 'number'> & { codeDigest: string | null; server: VersionCommand },
  dir: string,
  onLog: (text: string) => void,
): Promise<ServerPlan> {
  const { server, codeDigest } = version
  const { root } = server
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const built = await ensureEnvironment(server.environment, { root, cacheDir: join(dataDir, 'environments'), onLog })
  await layOutModel(artifacts, version.modelDigest, join(dir, 'model'))
  if (codeDigest !== null) {
    const code = { digest: codeDigest, root, ignore: server.snapshotIgnore, dataDir, nodeModules: built.nodeModules }
    await checkOutCode(code, join(dir, 'work'), artifacts)
  }
  return {
    command: server.command,
    cwd: codeDigest === null ? root : join(dir, 'work'),
    env: { ...built.env, ...server.env },
    modelDir: join(dir, 'model'),
    modelName: server.modelName,
    version: String(version.number),
    readyTimeoutMs: server.readyTimeoutMs,
    logPath: join(dir, 'server.log'),
  }
}

/** The same for a step that stands before the model. */
export async function layOutPrepare(
  context: { artifacts: Artifacts; dataDir: string },
  version: Pick<Version, 'modelDigest' | 'number'> & { codeDigest: string | null; prepare: VersionPrepare },
  dir: string,
  onLog: (text: string) => void,
): Promise<PreparePlan> {
  const { prepare } = version
  const plan = await layOutServer(context, { ...version, server: prepare }, dir, onLog)
  return { ...plan, role: 'prepare', timeoutMs: prepare.timeoutMs }
}

/** A version from before its server was declared may be a single file. */
async function layOutModel(artifacts: Artifacts, digest: string, target: string): Promise<void> {
  if (await artifacts.isTree(digest)) return artifacts.materialiseDir(digest, target)
  await mkdir(target, { recursive: true })
  await copyFile(await artifacts.verifiedPath(digest), join(target, MODEL_FILE))
}

/**
 * How a job opens a version: its ONNX file, with the step before it where there is one, or the server that will serve it,
 * where `modelPath` is the folder of its files.
 */
export interface ModelToMeasure extends ModelPlace {
  /** Tables that come with it, to be proven with it. */
  tables?: PlacedTable[]
}

/**
 * @param dir - gets what the version's server needs; whoever asked removes it
 * @throws ArtifactNotFoundError, ArtifactCorruptError, EnvironmentError
 */
export async function modelToMeasure(
  context: { artifacts: Artifacts; dataDir: string; log: { info(facts: object, text: string): void } },
  version: Pick<Version, 'id' | 'modelDigest' | 'number'> & {
    lineage: Pick<Lineage, 'codeDigest' | 'server' | 'prepare' | 'tables'>
  },
  dir: string,
): Promise<ModelToMeasure> {
  const { server, prepare, codeDigest, tables } = version.lineage
  const onLog = (text: string) => context.log.info({ version: version.id }, text)
  const own = join(dir, `v${version.number}`)
  if (server === undefined) {
    const files = await modelFiles(context, version.modelDigest)
    // While it is measured nothing is asked of the tables: their age does not count.
    const placed = tables === undefined ? {} : { tables: placedTables(files, tables, 0) }
    if (prepare === undefined) return { modelPath: files.path, ...placed }
    return {
      modelPath: files.path,
      prepare: await layOutPrepare(context, { ...version, codeDigest, prepare }, own, onLog),
    }
  }
  const plan = await layOutServer(context, { ...version, codeDigest, server }, own, onLog)
  return { modelPath: plan.modelDir, server: plan }
}
