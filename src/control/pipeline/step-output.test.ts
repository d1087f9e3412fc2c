import { expect, it } from 'vitest'
import { lastWords } from './step-output.ts'

it.each([
  [
    'of Python',
    'Traceback (most recent call last):\n  File "train.py", line 2\nModuleNotFoundError: No module named \'pandas\'\n',
    "ModuleNotFoundError: No module named 'pandas'",
  ],
  [
    'of Node, above its stack',
    "file:///w/train.mjs:50\n    throw new Error('x')\n    ^\n\nError: row 3 is no number\n    at read (file:///w/train.mjs:50:9)\n    at file:///w/train.mjs:12:1\n\nNode.js v24.21.0\n",
    'Error: row 3 is no number',
  ],
  ['beside its progress', 'epoch 3\nmillrace:progress 0.4 "epoch 3"\n\n', 'epoch 3'],
  ['cut to a line', `${'x'.repeat(500)}\n`, 'x'.repeat(200)],
  ['of nothing', '\n\n', null],
])('finds the last words %s', (_of, output, said) => {
  expect(lastWords(output)).toBe(said)
})
