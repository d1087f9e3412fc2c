import { describe, expect, it } from 'vitest'
import { unknownScripts, wrongCommands } from './command-lines.ts'
import { configProblem } from './config-snippet.ts'
import { anchorsOf } from './markdown.ts'
import { matchesOutput } from './masked.ts'

/* The checks of tests/docs.test.ts must be able to fail. */

describe('an output', () => {
  it('may differ in numbers, times, ids and widths', () => {
    expect(matchesOutput('run-12   done  3.2 s ago\n', 'run-1 done 1m 4s ago')).toBe(true)
    expect(matchesOutput('id 01m8341fkkgxbcb5ht9xnpdc2h', 'id 01m8346kwn9rz3yezqhkxwr5p5')).toBe(true)
  })

  it('may not differ in words, nor in lines that are not left out', () => {
    expect(matchesOutput('run-1 failed', 'run-1 done')).toBe(false)
    expect(matchesOutput('first\nsecond\n', 'first\n')).toBe(false)
  })

  it('may leave out lines, and the rest of one', () => {
    expect(matchesOutput('a\nb\nc\nd e f\n', 'a\n…\nd … f')).toBe(true)
    expect(matchesOutput('a\nb\n', 'a\n…\nc')).toBe(false)
  })
})

describe('a command', () => {
  it.each([
    ['millrace nothing', "there is no command 'nothing'"],
    ['millrace up --nothing', 'there is no option --nothing'],
    ['millrace train', 'needs 1 arguments, not 0'],
    ['cat x.json | millrace down now', 'takes 0 arguments, not 1'],
  ])('is found to be wrong: %s', (command, why) => {
    expect(wrongCommands(command)).toEqual([expect.stringContaining(why)])
  })

  it.each([
    'MILLRACE_URL=http://127.0.0.1:1 millrace status --json | head',
    `millrace predict churn --row '{"plan": "basic"}' \\\n  --json # asks`,
    'id=$(millrace runs list --limit 1) && npx millrace logs "$id" -f',
  ])('is understood as the shell does: %s', (command) => {
    expect(wrongCommands(command)).toEqual([])
  })

  it('of npm must be a script', () => {
    expect(unknownScripts('npm run nothing and npm run demo')).toEqual(['npm run nothing: there is no such script'])
  })
})

it('a configuration is checked whole or as fields of a model', async () => {
  expect(await configProblem('yaml', 'gate: { cluster: day }')).toBeNull()
  expect(await configProblem('yaml', 'gate: { clutser: day }')).toContain('did you mean "cluster"')
  expect(await configProblem('ts', "serving: { replicas: 'two' }")).toContain('replicas')
})

it('anchors are those of GitHub', () => {
  expect(anchorsOf('# How sure it is\n## `millrace up`, again')).toEqual(['how-sure-it-is', 'millrace-up-again'])
})
