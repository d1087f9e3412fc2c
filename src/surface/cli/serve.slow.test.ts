import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { linearModel, slowModel, writeModel } from '../../testing/onnx-builder.ts'

const ENTRY = fileURLToPath(new URL('./main.ts', import.meta.url))

let folder = ''
let child: ChildProcess | null = null
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'mr-cli-serve-'))))
afterEach(() => {
  child?.kill('SIGKILL')
  rmSync(folder, { recursive: true })
})

interface Served {
  port: number
  models: { name: string; version: string; isolated: boolean; url: string }[]
  ended: Promise<number | null>
  errors: () => string
}

async function serve(...args: string[]): Promise<Served> {
  child = spawn(process.execPath, [ENTRY, '--json', 'serve', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let errors = ''
  child.stderr!.on('data', (part: Buffer) => (errors += part.toString()))
  const ended = new Promise<number | null>((resolve) => child!.once('exit', resolve))
  const line = await new Promise<string>((resolve, reject) => {
    child!.stdout!.once('data', (part: Buffer) => resolve(part.toString()))
    void ended.then((code) => reject(new Error(`it ended with ${code}: ${errors}`)))
  })
  return { ...(JSON.parse(line) as Pick<Served, 'port' | 'models'>), ended, errors: () => errors }
}

function infer(port: number, model: string): Promise<number> {
  const body = JSON.stringify({ inputs: [{ name: 'x', shape: [1, 1], datatype: 'FP32', data: [1] }] })
  return new Promise((resolve, reject) => {
    const path = `/v2/models/${model}/infer`
    const call = request({ port, host: '127.0.0.1', method: 'POST', path, agent: false }, (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode!))
    })
    call.on('error', reject)
    call.end(body)
  })
}

describe('millrace serve', () => {
  it('serves a folder of models, and answers all that was asked before it ends', async () => {
    writeModel(join(folder, 'price', '3', 'model.onnx'), linearModel({ weights: [2] }))
    writeModel(join(folder, 'slow', '1', 'model.onnx'), slowModel({ size: 1024, repeats: 300, width: 1 }))
    const { port, models, ended, errors } = await serve(folder, '--port', '0')
    expect(models).toEqual([
      { name: 'price', version: '3', isolated: false, url: `http://127.0.0.1:${port}/v2/models/price` },
      { name: 'slow', version: '1', isolated: true, url: `http://127.0.0.1:${port}/v2/models/slow` },
    ])
    expect(await infer(port, 'price')).toBe(200)
    const asked = Array.from({ length: 6 }, () => infer(port, 'slow'))
    await infer(port, 'price') // the others are on their way as well by now
    child!.kill('SIGTERM')
    expect(await Promise.all(asked)).toEqual(Array.from({ length: 6 }, () => 200))
    expect(await ended).toBe(0)
    expect(errors()).toBe('')
  })

  it.each([
    [['--isolate', 'sometimes'], '--isolate must be auto, always or never'],
    [['--tls-key', 'k.pem'], 'TLS needs a certificate and its key'],
    [['--versions', '0'], '--versions must be a whole number from 1'],
    [['--name', 'x'], 'A name and column names belong to one file'],
  ])('refuses %j, and says why', async (flags, why) => {
    await expect(serve(folder, '--port', '0', ...flags)).rejects.toThrow(why)
  })
})
