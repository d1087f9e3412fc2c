import { stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { inspectOnnx, openModel } from '../../kernel/model/onnx-model.ts'
import type { OnnxModel } from '../../kernel/model/onnx-model.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'
import { decideBeforeLoad, decideByRun, HEAVY_RUN_MS } from './decide-isolation.ts'
import type { Isolate } from './decide-isolation.ts'
import { openIsolated } from './run-process.ts'
import type { IsolatedModel, IsolatedOptions } from './run-process.ts'
import { oneRowMs } from './warm-up.ts'

export interface OpenedModel {
  model: OnnxModel
  /** The same, where it has a process of its own. */
  isolated: IsolatedModel | null
  /** Why it runs where it does. */
  why: string
}

export interface OpenOrder {
  path: string
  isolate: Isolate
  /** This server serves other models meanwhile. */
  othersAreServed: boolean
  /** Real rows to measure with, once the signature is known; null: made-up ones. */
  sampleOf: (model: OnnxModel) => Record<string, Tensor> | null
  options: IsolatedOptions
}

/** @throws ModelNotServableError, RunProcessError, whatever `sampleOf` throws */
export async function openForServing({
  path,
  isolate,
  othersAreServed,
  sampleOf,
  options,
}: OpenOrder): Promise<OpenedModel> {
  const before = decideBeforeLoad(isolate, { sizeBytes: await sizeOf(path), othersAreServed })
  if (before.kind === 'own') return ofItsOwn(path, options, before.why)
  const model = await openModel(path, { features: options.features ?? null })
  if (before.kind === 'here') return { model, isolated: null, why: before.why }
  const { kind, why } = decideByRun(await measured(model, sampleOf))
  if (kind === 'here') return { model, isolated: null, why }
  await model.close()
  return ofItsOwn(path, options, why)
}

async function measured(model: OnnxModel, sampleOf: OpenOrder['sampleOf']): Promise<number | null> {
  try {
    return await oneRowMs(model, sampleOf(model), HEAVY_RUN_MS)
  } catch (error) {
    await model.close()
    throw error
  }
}

async function ofItsOwn(path: string, options: IsolatedOptions, why: string): Promise<OpenedModel> {
  const isolated = await openIsolated(path, options)
  return { model: isolated, isolated, why }
}

/** With its weights, wherever they lie. */
async function sizeOf(path: string): Promise<number> {
  const { externalFiles } = await inspectOnnx(path)
  const files = [path, ...externalFiles.map((file) => join(dirname(path), file))]
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}
