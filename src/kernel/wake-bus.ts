import { AsyncLocalStorage } from 'node:async_hooks'

/** Tells loops of this process that something changed. Says nothing about what: each looks for itself. */
export interface WakeBus<Topic extends string> {
  wake(topic: Topic): void
  /** @returns a function that ends it */
  on(topic: Topic, listener: () => void): () => void
}

/**
 * Listeners are called soon, not at once, and in the context in which they were added: whoever wakes may be in the
 * middle of a transaction.
 */
export function createWakeBus<Topic extends string>(): WakeBus<Topic> {
  const listeners = new Map<Topic, Set<() => void>>()
  return {
    wake(topic) {
      for (const listener of listeners.get(topic) ?? []) setImmediate(listener)
    },
    on(topic, listener) {
      const inContext = AsyncLocalStorage.bind(listener)
      const ofTopic = listeners.get(topic) ?? new Set()
      listeners.set(topic, ofTopic.add(inContext))
      return () => ofTopic.delete(inContext)
    },
  }
}
