import { stopAll } from '../../src/kernel/runtime/stop-all.ts'

/**
 * Ends what runs on a data directory when its parent, the test runner, is gone without having done so: killed itself, it
 * must not leave behind what it has killed in vain.
 *
 *   node guard.ts <data directory>
 */
const dataDir = process.argv[2]!
process.on('disconnect', () => void stopAll(dataDir, { drainMs: 0, graceMs: 1_000 }).finally(() => process.exit(0)))
