import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, extname, join } from 'node:path'
import { messageOf } from '../../kernel/errors.ts'
import { inspectOnnx } from '../../kernel/model/onnx-model.ts'
import { rewriteZipMaps } from '../../kernel/model/zip-map.ts'
import { OUTLINE_BYTES_MAX } from '../../kernel/protocol/json-outline.ts'
import type { GrpcFront } from '../front/grpc/grpc-front.ts'
import { httpFrontLimits, openHttpFront } from '../front/http/front.ts'
import type { HttpFront, ListenOn, TlsFiles } from '../front/http/http-front.ts'
import { metricsRoute } from '../front/metrics-route.ts'
import { restLimits } from '../front/rest/extras.ts'
import { restHandler } from '../front/rest/rest.ts'
import { ServeInputError } from './errors.ts'
import { fileStamp, findModels, findVersions } from './model-folder.ts'
import type { FoundVersion } from './model-folder.ts'
import { createModelServer } from './model-server.ts'
import type { ModelServer } from './model-server.ts'
import type { Isolate } from './decide-isolation.ts'
import { FileRepository } from './repository.ts'
import type { PreparedFile } from './repository.ts'
import { serverMetricsText } from './server-metrics.ts'
import { BODY_LIMIT_BYTES, ServerPlane } from './server-plane.ts'

export interface ServeOptions {
  /** ONNX files, or one folder of models, `DIR/<model>/<version>/model.onnx`. */
  paths: readonly string[]
  /** Of a single file, instead of the file's own. */
  name?: string
  /** Columns of a single `[N, K]` input of a single file. */
  features?: string[] | null
  /** Version that a file is served as. */
  version?: string
  host?: string
  /** 0 for any that is free. */
  port: number
  tls?: TlsFiles
  /** gRPC besides, on this port of the same address; 0 for any that is free. Absent: none. */
  grpcPort?: number
  /** A unix socket besides. */
  socket?: string
  maxBatchRows?: number
  /** Of one request, unpacked; larger ones get 413. 64 MiB unless said. */
  bodyLimitBytes?: number
  isolate?: Isolate
  /** Of a folder: the newest so many versions of each model. */
  versions?: number
  /** Of a folder: how often it is looked at for changes. Null: when a client asks for it. */
  pollMs?: number | null
  /** Version of Millrace, for `GET /v2`. */
  serverVersion?: string
  tell?: (level: 'info' | 'warn' | 'error', message: string, facts?: Record<string, unknown>) => void
  drain?: { idleMs: number; limitMs: number; lingerMs?: number }
}

export interface ServedModels {
  port: number
  /** Null: no gRPC. */
  grpcPort: number | null
  /** What every front answers from. */
  plane: ServerPlane
  /** Where they are called: `/v2/models/<name>`. */
  models: { name: string; version: string; isolated: boolean }[]
  /** Finishes what was asked, then stops. */
  close(): Promise<{ abandoned: number }>
}

export const serveDrain = { idleMs: 500, limitMs: 20_000 }

/**
 * Models over HTTP with no control plane: `millrace serve`. Ready when it returns; prints nothing.
 * @throws ServeInputError, ModelNotServableError, ListenError, TlsFilesError
 */
export async function serveModels(options: ServeOptions): Promise<ServedModels> {
  const { maxBatchRows, isolate, bodyLimitBytes, serverVersion = '', tell = () => undefined } = options
  const sources = sourcesOf(options)
  const scratch = mkdtempSync(join(tmpdir(), 'millrace-serve-'))
  const models = createModelServer({ limits: maxBatchRows === undefined ? {} : { maxBatchRows }, isolate, tell })
  const repository = new FileRepository({ models, ...sources, prepare: (path) => withoutZipMap(path, scratch) })
  const server = { name: 'millrace', version: serverVersion }
  const plane = new ServerPlane({ models, server, repository, emptyIsReady: true, bodyLimitBytes })
  const metrics = metricsRoute(() =>
    serverMetricsText({
      plane,
      models,
      version: serverVersion,
      underWay: () => fronts.reduce((sum, { underWay }) => sum + underWay, 0),
      connections: () => http.connections,
    }),
  )
  const limits = { unpackedBytes: roomFor(restLimits.unpackedBytes, bodyLimitBytes) }
  const handler = restHandler(plane, { isDraining: () => plane.isDraining, routes: [metrics], limits })
  const http = openHttpFront(handler, { bodiesBytes: roomFor(httpFrontLimits.bodiesBytes, bodyLimitBytes) }, tell)
  /** Every protocol's front over the one plane. */
  const fronts: Pick<HttpFront, 'drain' | 'close' | 'underWay'>[] = [http]
  const release = async (): Promise<void> => {
    await Promise.all(fronts.map((front) => front.close()))
    await models.close()
    rmSync(scratch, { recursive: true, force: true })
  }
  try {
    await repository.loadAll()
    const port = await listen(http, options)
    const grpc = await listenForGrpc(plane, options)
    if (grpc !== null) fronts.push(grpc.front)
    const stopPolling = poll(repository, options)
    const close = async (): Promise<{ abandoned: number }> => {
      stopPolling()
      plane.startDraining()
      const drained = await Promise.all(fronts.map((front) => front.drain(options.drain ?? serveDrain)))
      await release()
      return { abandoned: drained.reduce((sum, { abandoned }) => sum + abandoned, 0) }
    }
    return { port, grpcPort: grpc?.port ?? null, plane, models: listed(models), close }
  } catch (error) {
    await release()
    throw error
  }
}

/** A limit of all requests together: there must be room for one that is as large as any may be. */
function roomFor(bytes: number, bodyLimitBytes = BODY_LIMIT_BYTES): number {
  return Math.max(bytes, bodyLimitBytes + OUTLINE_BYTES_MAX)
}

async function listen(http: HttpFront, { host = '127.0.0.1', port, tls, socket }: ServeOptions): Promise<number> {
  const places: ListenOn[] = [{ kind: 'port', host, port, ...(tls === undefined ? {} : { tls }) }]
  if (socket !== undefined) places.push({ kind: 'socket', path: socket })
  let chosen = 0
  for (const place of places) {
    const got = await http.listen(place)
    if (place.kind === 'port') chosen = got
  }
  return chosen
}

/** The library is loaded only where it is used: it costs 20 MB. */
async function listenForGrpc(
  plane: ServerPlane,
  { grpcPort, host = '127.0.0.1', tls, bodyLimitBytes, tell = () => undefined }: ServeOptions,
): Promise<{ front: GrpcFront; port: number } | null> {
  if (grpcPort === undefined) return null
  const { grpcLimits, openGrpcFront } = await import('../front/grpc/grpc-front.ts')
  const { receiveBytes, heldBytes } = grpcLimits
  const limits = { receiveBytes: roomFor(receiveBytes, bodyLimitBytes), heldBytes: roomFor(heldBytes, bodyLimitBytes) }
  const front = openGrpcFront({ plane, limits, tell })
  return { front, port: await front.listen({ host, port: grpcPort, ...(tls === undefined ? {} : { tls }) }) }
}

function listed(models: ModelServer): ServedModels['models'] {
  return models.states().flatMap((state) => {
    if (state.kind !== 'ready') return []
    const { model: name, version, isolation } = state.loaded
    return [{ name, version, isolated: isolation.pid !== null }]
  })
}

/** Models that can't be brought up to date are served on as they are. */
function poll(repository: FileRepository, { pollMs = null, tell = () => undefined }: ServeOptions): () => void {
  if (pollMs === null) return () => undefined
  let isOver = false
  let timer: NodeJS.Timeout
  const onError = (model: string, error: unknown): void =>
    tell('warn', 'a model could not be loaded', { model, why: messageOf(error) })
  const again = (): void => {
    timer = setTimeout(() => {
      repository
        .refresh(onError)
        .catch((error: unknown) => onError('', error))
        .finally(() => (isOver ? undefined : again()))
    }, pollMs)
    timer.unref()
  }
  again()
  return () => {
    isOver = true
    clearTimeout(timer)
  }
}

interface Sources {
  find(): Promise<Map<string, FoundVersion[]>>
  findOne(model: string): Promise<FoundVersion[]>
  versions: number
  features: string[] | null
}

/** @throws ServeInputError */
function sourcesOf(options: ServeOptions): Sources {
  const { paths, name, features = null, versions = 1 } = options
  const [first] = paths
  if (first === undefined)
    throw new ServeInputError('There is nothing to serve.', 'Name an ONNX file, several, or a folder of models.')
  const isFolder = paths.map((path) => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true)
  if ((name !== undefined || features !== null) && (paths.length > 1 || isFolder[0]))
    throw new ServeInputError('A name and column names belong to one file.', 'Serve one file, or leave them out.')
  if (!isFolder.includes(true)) return files(options)
  if (paths.length > 1)
    throw new ServeInputError('A folder of models is served alone.', 'Name one folder, or files only.')
  return {
    find: () => findModels(first),
    findOne: (model) => findVersions(first, model),
    versions,
    features: null,
  }
}

function files({ paths, name, version = '1', features = null }: ServeOptions): Sources {
  const byName = new Map<string, string>()
  for (const path of paths) {
    const model = name ?? basename(path, extname(path))
    if (byName.has(model))
      throw new ServeInputError(
        `Both ${byName.get(model)} and ${path} would be called '${model}'.`,
        'Rename one of the files, or put them into a folder of models.',
      )
    byName.set(model, path)
  }
  const findOne = async (model: string): Promise<FoundVersion[]> => {
    const path = byName.get(model)
    return path === undefined ? [] : [{ model, version, path, stamp: (await fileStamp(path)) ?? 'missing' }]
  }
  const find = async (): Promise<Map<string, FoundVersion[]>> => {
    const found = new Map<string, FoundVersion[]>()
    for (const model of byName.keys()) found.set(model, await findOne(model))
    return found
  }
  return { find, findOne, versions: 1, features }
}

let rewritten = 0

/** As registration does it: a classifier's probabilities as a tensor instead of a list of dictionaries. */
async function withoutZipMap(path: string, scratch: string): Promise<PreparedFile> {
  const target = join(scratch, `${(rewritten += 1)}.onnx`)
  const discard = (): void => rmSync(target, { force: true })
  const asItIs = { path, discard: () => undefined }
  if (statSync(path, { throwIfNoEntry: false }) === undefined || (await rewriteZipMaps(path, target)) === null)
    return asItIs // what is wrong with it, loading says
  // Its weight files would not lie beside the copy.
  const { externalFiles } = await inspectOnnx(target, { weights: false })
  if (externalFiles.length === 0) return { path: target, discard }
  discard()
  return asItIs
}
