import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as onnx from '../../src/testing/onnx-builder.ts'
import { openServingLab } from '../../src/testing/serving-lab.ts'
import type { ServingLab } from '../../src/testing/serving-lab.ts'

/*
 * Clients that others wrote, as PyPI has them, against a model server alone and against a gateway. CI names a Python for
 * each; elsewhere they are skipped with a line that says how to run them.
 */

const here = import.meta.dirname
const pythons = {
  triton: declared('MILLRACE_TEST_TRITON_PYTHON', "Triton's client", 'tritonclient[all]'),
  kserve: declared('MILLRACE_TEST_KSERVE_PYTHON', "KServe's client", 'kserve'),
}
const mlserver = declared('MILLRACE_TEST_MLSERVER', "MLServer's infer command", 'mlserver mlserver-sklearn')

function declared(variable: string, what: string, packages: string): string | null {
  const path = process.env[variable] ?? null
  if (path === null) {
    console.warn(
      `Skipped: ${what}. To run it: python3 -m venv VENV && VENV/bin/pip install '${packages}' && ` +
        `${variable}=VENV/bin/${variable.endsWith('PYTHON') ? 'python' : 'mlserver'} npm test`,
    )
  }
  return path
}

let lab: ServingLab
const folder = mkdtempSync(join(tmpdir(), 'millrace-clients-'))
beforeAll(async () => {
  lab = await openServingLab(
    {
      linear: onnx.linearModel({ weights: [1, 2], bias: 0.5 }),
      text: onnx.identityModel('string', ['N']),
      long: onnx.identityModel('int64', ['N']),
      half: onnx.identityModel('float16', ['N']),
    },
    { bodyLimitBytes: 64_000_000 },
  )
})
afterAll(async () => {
  await lab?.close()
  rmSync(folder, { recursive: true })
})

describe.each(['modelServer', 'gateway'] as const)('at the %s', (who) => {
  const addresses = (): string[] => [`127.0.0.1:${lab[who]}`, `127.0.0.1:${lab.grpc[who]}`]

  it.skipIf(pythons.triton === null)("Triton's client works over HTTP and gRPC, sync and aio", async () => {
    const { code, output } = await run(pythons.triton!, [join(here, 'triton_client.py'), ...addresses()])
    expect(output).not.toMatch(/^NOT /m)
    expect({ code, output }).toMatchObject({ code: 0 })
    expect(checksIn(output)).toBeGreaterThan(40)
  })

  it.skipIf(pythons.kserve === null)("KServe's client works over v2, v1 and gRPC", async () => {
    const { code, output } = await run(pythons.kserve!, [join(here, 'kserve_client.py'), ...addresses()])
    expect(output).not.toMatch(/^NOT /m)
    expect({ code, output }).toMatchObject({ code: 0 })
    expect(checksIn(output)).toBeGreaterThan(10)
  })

  it.skipIf(mlserver === null)("MLServer's infer command works through a file of requests", async () => {
    const given = Array.from({ length: 50 }, (_, i) => ({ x: [i, 2 * i] }))
    const requests = given.map(({ x }, i) => ({
      id: String(i),
      inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 2], data: x }],
    }))
    const [input, output] = [join(folder, `${who}-in.jsonl`), join(folder, `${who}-out.jsonl`)]
    writeFileSync(input, requests.map((request) => JSON.stringify(request)).join('\n'))
    const where = ['--url', addresses()[0]!, '--model-name', 'linear', '--workers', '4']
    const done = await run(mlserver!, ['infer', ...where, '--input-data-path', input, '--output-data-path', output])
    expect(done).toMatchObject({ code: 0 })
    const answers = readFileSync(output, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as BatchAnswer)
    expect(answers).toHaveLength(50)
    for (const { id, outputs } of answers) expect(outputs[0]!.data).toEqual([Number(id) * 5 + 0.5])
  })
})

const checksIn = (output: string): number => output.match(/^ok {2}/gm)?.length ?? 0

interface BatchAnswer {
  id: string
  outputs: { data: number[] }[]
}

function run(command: string, args: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, PATH: `${dirname(command)}:${process.env.PATH}` }
    const child = spawn(command, args, { cwd: folder, env, timeout: 150_000 })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (output += text.toString()))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, output }))
  })
}
