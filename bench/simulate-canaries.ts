/**
 * The simulations behind docs/reference/statistics.md: figures S1 (canaries) and S5 (quiet days) of the bench.
 *
 *   node bench/simulate-canaries.ts [--samples N] [--out DIR]       the same as: npm run bench -- S1 S5
 */
process.argv.push('S1', 'S5')
await import('./run.ts')
