import { isLoopback } from './loopback.ts'
import { toStability } from './normalise-loop.ts'
import { fixedReplicas, toGateway, WAKE_MS } from './normalise-serving.ts'
import { toProject } from './normalise.ts'
import type { GatewayConfig, ModelConfig, Project, ServingConfig, TriggerConfig } from './project.ts'
import { projectSchema } from './schema.ts'

/**
 * A configuration that an earlier version of Millrace resolved and stored: what it did not know yet gets its default, so
 * that models are watched and versions retire as if it had just been applied. What was said stays as it was.
 */
export function completeProject(stored: Project): Project {
  return {
    ...stored,
    gateway: completeGateway(stored.gateway),
    alerts: stored.alerts ?? { webhooks: [] },
    models: stored.models.map(completeModel),
    endpoints: stored.endpoints ?? [],
  }
}

/** An address beyond loopback was accepted only where anonymous callers were declared, and that was not stored. */
function completeGateway(stored: GatewayConfig): GatewayConfig {
  const usual = toGateway(projectSchema.shape.gateway.parse({}))
  return { ...usual, ...stored, anonymous: stored.anonymous ?? !isLoopback(stored.host) }
}

function completeModel(stored: ModelConfig): ModelConfig {
  const usual = usualModel(stored)
  const gate = { ...stored.gate, stability: stored.gate.stability ?? toStability({ versions: 5 }, stored.gate.margin) }
  return {
    ...usual,
    ...stored,
    triggers: stored.triggers.map(withName),
    gate,
    release: { ...usual.release, ...stored.release },
    serving: { ...usual.serving, ...stored.serving, replicas: completeReplicas(stored.serving) },
  }
}

/** A model of the same kind of which nothing was said. */
function usualModel({ name, task, importance, gate, release }: ModelConfig): ModelConfig {
  const written = {
    train: 'true',
    ...(task === null ? {} : { task }),
    importance,
    gate: { loss: gate.loss, versusChampion: gate.comparison, ...(gate.margin > 0 ? { margin: gate.margin } : {}) },
    ...(release.when.kind === 'manual' ? { release: { when: 'manual' } } : {}),
  }
  return toProject(projectSchema.parse({ name: 'usual', models: { [name]: written } }), '/').models[0]!
}

/** It was a number, whatever the load. */
function completeReplicas({ replicas, timeoutMs }: ServingConfig): ServingConfig['replicas'] {
  return typeof replicas === 'number' ? fixedReplicas(replicas, Math.min(WAKE_MS, timeoutMs)) : replicas
}

/** Names were given by their place among all triggers, of which there was one kind. */
function withName(trigger: TriggerConfig, i: number): TriggerConfig {
  return { ...trigger, name: trigger.name ?? `${trigger.kind}-${i + 1}` }
}
