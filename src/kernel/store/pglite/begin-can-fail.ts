import type { PGlite, Transaction } from '@electric-sql/pglite'

type ForKysely = Pick<PGlite, 'close' | 'closed' | 'query' | 'ready' | 'transaction' | 'waitReady'>

/**
 * Kysely's driver waits for PGlite to call back from `transaction`, which it never does when BEGIN itself fails (the
 * database has crashed or was closed): the wait would not end. Here the call comes anyway, with a transaction whose
 * every query throws that error.
 */
export function beginCanFail(pglite: PGlite): ForKysely {
  return {
    close: () => pglite.close(),
    query: (sql, parameters, options) => pglite.query(sql, parameters, options),
    get closed() {
      return pglite.closed
    },
    get ready() {
      return pglite.ready
    },
    get waitReady() {
      return pglite.waitReady
    },
    async transaction(work) {
      let begun = false
      try {
        return await pglite.transaction((tx) => {
          begun = true
          return work(tx)
        })
      } catch (thrown) {
        if (!begun) await work(brokenTransaction(thrown))
        throw thrown
      }
    },
  }
}

function brokenTransaction(why: unknown): Transaction {
  const fail = () => Promise.reject(why)
  return { query: fail, sql: fail, exec: fail, rollback: async () => {}, listen: fail, closed: false }
}
