import type {
  AnyContractProcedure,
  ContractProcedure,
  ErrorMap,
  InferSchemaInput,
  InferSchemaOutput,
  Meta,
} from '@orpc/contract'
import { implement, type AnyRouter } from '@orpc/server'

import { contract, type Contract } from './contract.ts'
import { ApiInputError, ApiOverloadedError } from './errors.ts'

/** What a handler knows about its caller besides the input. */
export interface Call {
  /** Aborted when the caller has gone: streams must end then. */
  signal: AbortSignal
  /** How the caller came in: the unix socket (same user), a bearer token, or the page's cookie (reads only). */
  via: 'socket' | 'token' | 'cookie'
}

type MaybePromise<T> = T | Promise<T>

/** One operation: plain function from checked input to output; it throws MillraceErrors. Streams are async generators. */
export type Handler<P extends AnyContractProcedure> =
  P extends ContractProcedure<infer I, infer O, ErrorMap, Meta>
    ? (input: InferSchemaOutput<I>, call: Call) => MaybePromise<InferSchemaInput<O>>
    : never

export type HandlerGroup<G extends keyof Contract> = {
  [P in keyof Contract[G]]: Contract[G][P] extends AnyContractProcedure ? Handler<Contract[G][P]> : never
}

/**
 * Everything that the control plane does for the API. Each group is a plain object, so that a file of
 * `handlers/` exports one group:
 *
 * ```ts
 * export const clockHandlers = (clock: RehearsalClock): HandlerGroup<'clock'> => ({
 *   get: () => clock.view(),
 *   set: ({ calendarMs }) => clock.set(calendarMs),
 *   hold: ({ by, why }) => clock.hold(by, why),
 *   release: ({ by }) => clock.release(by),
 * })
 * ```
 */
export type Handlers = { [G in keyof Contract]: HandlerGroup<G> }

type AnyHandler = (input: unknown, call: Call) => unknown

/** The handlers as an oRPC router, each under its contract's input and output checks. */
export function routerOf(handlers: Handlers): AnyRouter {
  const os = implement(contract).$context<Call>()
  const groups = os as unknown as Record<string, Record<string, { handler(run: (o: Options) => unknown): unknown }>>
  const all = handlers as unknown as Record<string, Record<string, AnyHandler>>
  const admit = callsAtOnce()
  const router = mapValues(contract as Record<string, Record<string, unknown>>, (group, g) =>
    mapValues(group, (_, p) =>
      groups[g]![p]!.handler(({ input, context, signal }) =>
        admit(() => {
          refuseNul(`${g}.${p}`, input)
          return all[g]![p]!(input, { via: context.via, signal: signal ?? context.signal })
        }),
      ),
    ),
  )
  return os.router(router as unknown as Parameters<typeof os.router>[0]) as AnyRouter
}

/** The store takes calls one after the other, and the loops wait with them. Streams count until they begin. */
const CALLS_MAX = 64

function callsAtOnce() {
  let calls = 0
  return async (call: () => unknown): Promise<unknown> => {
    if (calls >= CALLS_MAX) throw new ApiOverloadedError(CALLS_MAX)
    calls++
    try {
      return await call()
    } finally {
      calls--
    }
  }
}

/** No database can keep it in a text. @throws ApiInputError */
function refuseNul(procedure: string, input: unknown): void {
  const path = nulIn(input, [])
  if (path === null) return
  throw new ApiInputError(procedure, [{ path: path.join('.'), message: 'must be without the character NUL' }])
}

function nulIn(value: unknown, path: string[]): string[] | null {
  if (typeof value === 'string') return value.includes('\0') ? path : null
  if (typeof value !== 'object' || value === null) return null
  for (const [key, inner] of Object.entries(value)) {
    if (key.includes('\0')) return path
    const found = nulIn(inner, [...path, key])
    if (found !== null) return found
  }
  return null
}

interface Options {
  input: unknown
  context: Call
  signal?: AbortSignal
}

function mapValues<V, R>(object: Record<string, V>, to: (value: V, key: string) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, to(value, key)]))
}
