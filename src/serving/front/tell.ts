/** How a front, a gateway or a replica says what happens to it. The process gives the words to its log. */
export type Tell = (level: 'info' | 'warn' | 'error', what: string, facts?: Record<string, unknown>) => void

export const tellNobody: Tell = () => undefined
