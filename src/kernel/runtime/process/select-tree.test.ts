import { describe, expect, it } from 'vitest'
import { afterName, rowOfPs, rowOfStat, type ProcessRow } from './process-table.ts'
import { selectTree, withAncestors } from './select-tree.ts'

/** `pid: [parent, group, session, started]` */
const table = (rows: Record<number, [number, number, number, number]>): ProcessRow[] =>
  Object.entries(rows).map(([pid, [parent, group, session, started]]) => ({
    pid: Number(pid),
    parent,
    group,
    session,
    started,
  }))
const byNumber = (a: number, b: number) => a - b
const nobody: ReadonlySet<number> = new Set()

describe('selectTree', () => {
  it('takes the root, its group, its session and all descendants', () => {
    const rows = table({
      10: [1, 10, 10, 100],
      11: [10, 10, 10, 101],
      12: [11, 12, 10, 102], // a group of its own in the same session
      13: [12, 13, 13, 103], // a session of its own, still a child
      99: [1, 99, 99, 100],
    })
    expect(selectTree(rows, [{ pid: 10, started: 100 }], [], nobody).sort(byNumber)).toEqual([10, 11, 12, 13])
  })

  it('takes what a dead root has left in its group', () => {
    const rows = table({ 11: [1, 10, 10, 101] })
    expect(selectTree(rows, [{ pid: 10, started: 100 }], [], nobody)).toEqual([11])
  })

  it('leaves a process alone that has the pid of a dead root, and its group', () => {
    const rows = table({ 10: [1, 10, 10, 500], 11: [10, 10, 10, 501] })
    expect(selectTree(rows, [{ pid: 10, started: 100 }], [], nobody)).toEqual([])
  })

  it('leaves a group alone that is older than the root', () => {
    const rows = table({ 11: [1, 10, 10, 50] })
    expect(selectTree(rows, [{ pid: 10, started: 100 }], [], nobody)).toEqual([])
  })

  it('takes what is marked, wherever it went, with its children', () => {
    const rows = table({ 20: [1, 20, 20, 1], 21: [20, 20, 20, 2] })
    expect(selectTree(rows, [], [20], nobody).sort(byNumber)).toEqual([20, 21])
  })

  it('never takes what is to be spared', () => {
    const rows = table({ 1: [0, 1, 1, 1], 5: [1, 5, 5, 2], 6: [5, 5, 5, 3] })
    expect([...withAncestors(rows, 6)]).toEqual([6, 5, 1])
    expect(selectTree(rows, [{ pid: 5, started: 2 }], [6], withAncestors(rows, 6))).toEqual([])
  })
})

describe('process table', () => {
  const stat = '42 (a) b (c) S 7 40 39 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 229517 1 1'

  it('reads a line of /proc whose command has parentheses and spaces', () => {
    expect(rowOfStat(stat)).toEqual({ pid: 42, parent: 7, group: 40, session: 39, started: 229517 })
    expect(afterName(stat)[0]).toBe('S')
  })

  it('leaves zombies out', () => {
    expect(rowOfStat(stat.replace(' S 7', ' Z 7'))).toBeNull()
    expect(rowOfPs('  501     1   501 Z    Mon Nov 23 01:41:00 2026')).toBeNull()
  })

  it('reads a line of ps', () => {
    const started = Date.parse('Mon Nov 23 01:41:00 2026') / 1000
    const row = { pid: 501, parent: 1, group: 500, session: 0, started }
    expect(rowOfPs('  501     1   500 Ss   Mon Nov 23 01:41:00 2026    ')).toEqual(row)
    expect(rowOfPs('')).toBeNull()
  })
})
