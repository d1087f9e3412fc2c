import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { missingForAutomation } from '../../../config/missing-for-automation.ts'
import type { ModelConfig } from '../../../config/project.ts'
import { messageOf, MillraceError } from '../../../kernel/errors.ts'
import type { Signature } from '../../../kernel/model/signature.ts'
import { allModels } from '../../../control/control-context.ts'
import { aliases, aliasHistory, listVersions, liveAt, resolveVersion } from '../../../control/registry/version-store.ts'
import {
  keepModelFile,
  keepModelFolder,
  MODEL_FILE,
  registrationOf,
  type Beside,
} from '../../../control/registry/model-files.ts'
import { modelToMeasure } from '../../../control/registry/server-place.ts'
import type { Lineage } from '../../../control/registry/version.ts'
import { prepareOf, serverOf } from '../../../control/registry/version-server.ts'
import { createImportedVersion, setApproval, setSignature } from '../../../control/registry/version-requests.ts'
import type { HandlerGroup } from '../handlers.ts'
import type { ModelSummary } from '../model-schemas.ts'
import { DiskLowError } from './disk-low.ts'
import { freezeBlockers } from './freeze-blockers.ts'
import type { Services } from './services.ts'
import { versionSummary, versionView } from './version-view.ts'

export class ModelUnknownError extends MillraceError {
  constructor(model: string, known: string[]) {
    super({
      code: 'MR_MODEL_UNKNOWN',
      kind: 'not-found',
      message: `There is no model '${model}'${known.length === 0 ? '' : `; declared: ${known.join(', ')}`}.`,
      fix: `Declare it in the configuration and run 'millrace apply', or run 'millrace models' to see what there is.`,
    })
  }
}

class ImportUnreadableError extends MillraceError {
  constructor(path: string, cause: unknown) {
    super({
      code: 'MR_IMPORT_UNREADABLE',
      kind: 'invalid',
      message: `'${path}' can't be read as a model file: ${messageOf(cause)}.`,
      fix: 'Name an ONNX file that the control plane may read.',
      cause,
    })
  }
}

/** A model of the applied configuration. @throws ModelUnknownError; `paused` ones only where allowed */
export function declaredModel(services: Pick<Services, 'context'>, name: string, paused = false): ModelConfig {
  const applied = services.context.project()
  const all = paused ? allModels(applied) : (applied?.project.models ?? [])
  const found = all.find((m) => m.name === name)
  if (found === undefined)
    throw new ModelUnknownError(
      name,
      all.map((m) => m.name),
    )
  return found
}

export const modelHandlers = (services: Services): HandlerGroup<'models'> => ({
  async list() {
    return Promise.all(allModels(services.context.project()).map((m) => modelSummary(services, m)))
  },
  async get({ model }) {
    const config = declaredModel(services, model, true)
    const { db } = services.context.store
    const history = await aliasHistory(db, model)
    const named = (await aliases(db)).filter((a) => a.model === model)
    return {
      ...(await modelSummary(services, config)),
      aliases: named.map((a) => ({
        alias: a.alias,
        version: a.versionId,
        sinceMs: history.findLast((h) => h.alias === a.alias)?.fromMs ?? 0,
      })),
      recent: await Promise.all((await listVersions(db, { model, limit: 20 })).map((v) => versionSummary(services, v))),
    }
  },
})

export const versionHandlers = (services: Services): HandlerGroup<'versions'> => ({
  async list({ model, limit }) {
    declaredModel(services, model, true)
    const versions = await listVersions(services.context.store.db, { model, limit })
    return Promise.all(versions.map((v) => versionSummary(services, v)))
  },
  async get({ ref }) {
    return versionView(services, await resolveVersion(services.context.store.db, ref))
  },
  async liveAt({ model, atMs }) {
    declaredModel(services, model, true)
    const span = liveAt(await aliasHistory(services.context.store.db, model), atMs)
    return { version: span.versionId, fromMs: span.fromMs, untilMs: span.untilMs, why: span.why }
  },
  async import({ model, from, as, why, by }) {
    const config = declaredModel(services, model)
    const { context } = services
    const { store, clock, artifacts } = context
    if (context.diskLow()) throw new DiskLowError('nothing is imported')
    const { project } = context.project()!
    const [server, prepare] = [serverOf(project, config), prepareOf(project, config)]
    const tables = server === null ? config.serving.enrich : []
    const beside = prepare === null ? tables.map(({ table }) => table) : 'all'
    const digest =
      'path' in from ? await keptFile(services, from.path, { wholeFolder: server !== null, beside }) : from.digest
    // What was kept long ago and is nobody's may be removed at any time: from here on it stays until it is recorded.
    await artifacts.renew(digest)
    const lineage = { server: server ?? undefined, prepare: prepare ?? undefined, tables }
    const signature = await inspected(services, config, digest, lineage)
    const { sizeBytes, ...registration } = await registrationOf(artifacts, digest)
    const facts = {
      model,
      revisionId: context.project()!.revisionId,
      modelDigest: digest,
      sizeBytes,
      registration,
      server,
      prepare,
      tables,
      importedFrom: 'path' in from ? from.path : digest,
    }
    const id = await store.transaction(async (tx) => {
      const made = await createImportedVersion(tx, clock, { ...facts, cause: `imported by ${by}: ${why}` })
      await setSignature(tx, made, { signature, scoreOutput: null })
      if (as === 'champion')
        await setApproval(tx, clock, made, {
          decision: 'approved',
          by,
          why: `imported as champion: ${why}`,
          atMs: clock.epochMs(),
        })
      return made
    })
    services.context.wake('version')
    services.context.wake('release')
    return versionSummary(services, await resolveVersion(store.db, id))
  },
})

/** Opened before anything is recorded: what can't be served is not imported. */
async function inspected(
  services: Services,
  config: ModelConfig,
  digest: string,
  lineage: Pick<Lineage, 'server' | 'prepare' | 'tables'>,
): Promise<Signature> {
  const { context } = services
  const parent = join(context.dataDir, 'tmp')
  await mkdir(parent, { recursive: true, mode: 0o700 })
  const dir = await mkdtemp(join(parent, 'import-'))
  try {
    const about = { id: `an import of ${config.name}`, modelDigest: digest, number: 0 }
    const place = await modelToMeasure(context, { ...about, lineage: { codeDigest: null, ...lineage } }, dir)
    return (await services.inspectModel(place, config.features)).signature
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/**
 * @param options.wholeFolder - a server of the user's own reads it: then any file will do, or a folder
 * @param options.beside - what is kept with it; 'all' of a folder that was named, never of one that a file happens to be in
 */
async function keptFile(
  { context }: Services,
  path: string,
  { wholeFolder, beside }: { wholeFolder: boolean; beside: Beside },
): Promise<string> {
  try {
    const found = await stat(path)
    // Reading a pipe or a terminal would wait for whoever writes to it.
    if (!found.isFile() && !found.isDirectory()) throw new Error('it is neither a file nor a folder')
    if (wholeFolder) {
      if (found.isDirectory()) return (await keepModelFolder(context.artifacts, path)).digest
      return (await context.artifacts.putFiles([{ path: basename(path), from: path }])).digest
    }
    const scratch = join(context.dataDir, 'tmp', `import-${randomUUID()}.onnx`)
    await mkdir(dirname(scratch), { recursive: true, mode: 0o700 })
    const isFolder = beside === 'all' && found.isDirectory()
    const file = isFolder ? join(path, MODEL_FILE) : path
    const kept = beside === 'all' && !isFolder ? [] : beside
    return (await keepModelFile(context.artifacts, file, scratch, kept)).digest
  } catch (error) {
    throw error instanceof MillraceError ? error : new ImportUnreadableError(path, error)
  }
}

async function modelSummary(services: Services, config: ModelConfig): Promise<ModelSummary> {
  const { context } = services
  const { db } = context.store
  const [newest] = await listVersions(db, { model: config.name, limit: 1 })
  const champion = (await aliases(db)).find((a) => a.model === config.name && a.alias === 'champion')
  const paused = !(context.project()?.project.models ?? []).some((m) => m.name === config.name)
  return {
    name: config.name,
    endpoint: config.endpoint,
    importance: config.importance,
    task: config.task,
    paused,
    champion: champion?.versionId ?? null,
    versions: newest?.number ?? 0,
    newest: newest === undefined ? null : await versionSummary(services, newest),
    blockers: [...blockersOf(services, config, paused), ...(await freezeBlockers(services, config.name))],
  }
}

function blockersOf({ context }: Services, config: ModelConfig, paused: boolean): ModelSummary['blockers'] {
  const missing = missingForAutomation(config).map((field) => ({
    what: field,
    why: `${field} is not declared, so versions can't be evaluated and wait for approval`,
    fix: `Add '${field}' to the model in the configuration.`,
  }))
  return [
    ...missing,
    ...(paused ? [{ what: 'paused', why: 'the model left the configuration', fix: 'Add it again and apply.' }] : []),
    ...(context.diskLow()
      ? [
          {
            what: 'disk',
            why: 'free disk space is below the watermark',
            fix: 'Free some space; work goes on by itself then.',
          },
        ]
      : []),
  ]
}
