import { ProtocolError } from '../../../kernel/protocol/inference.ts'
import type { DataPlane } from '../data-plane.ts'
import { heardOf } from './heard-of.ts'
import type { Target } from './target.ts'

/** More names than this in one error message help nobody. */
const NAMES_MAX = 20

/** The model that a target is about; null: none in particular. */
export function modelNameOf(plane: DataPlane, target: Target): string | null {
  if (!('name' in target)) return null
  if (target.name !== null || target.kind === 'statistics') return target.name
  const [only, ...others] = plane.modelNames()
  return only === undefined || others.length > 0 ? null : only
}

/**
 * MLflow serves one model a server.
 * @param endpoints - that whoever asks may hear of; null: all
 * @throws ProtocolError 404
 */
export function onlyName(plane: DataPlane, endpoints: readonly string[] | null): string {
  const all = plane.modelNames()
  if (all.length === 1) return all[0] as string
  const names = heardOf(endpoints, all, (name) => name)
  if (names.length === 0) throw new ProtocolError(404, 'There is no model here yet.')
  const more = names.length > NAMES_MAX ? ` and ${names.length - NAMES_MAX} more` : ''
  const known = names.slice(0, NAMES_MAX).join(', ')
  throw new ProtocolError(404, `There are several models here, at /endpoints/NAME/…: ${known}${more}.`)
}
