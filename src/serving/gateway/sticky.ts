/**
 * Which member a caller's key leads to. Each member runs a race of its own for the key: it arrives after
 * `-ln(u) / weight`, with `u` in (0, 1) made of key and member alone, and the first to arrive has the key. So members get
 * keys by their weights, and when one weight changes, keys move only to or from that member.
 * @param key - from `keyHash`
 * @param seed - the member's, from `memberSeed`
 * @see D. G. Thaler, C. V. Ravishankar, "Using name-based mappings to increase hit rates" (rendezvous hashing)
 */
export function arrival(key: number, seed: number, weight: number): number {
  return -Math.log((mixed(mixed(key ^ seed) + seed) + 0.5) / 2 ** 32) / weight
}

/** A member's own seed: by version rather than deployment, so that one that is deployed anew keeps its callers. */
export function memberSeed(endpoint: string, version: string): number {
  return keyHash(`${endpoint}\0${version}`)
}

/** More letters of a key than this are not looked at. */
const KEY_LETTERS_MAX = 1_024

/**
 * 32 bits of a text's UTF-16 units: MurmurHash3 (x86, 32 bits) over blocks of two units.
 * @see https://github.com/aappleby/smhasher/wiki/MurmurHash3
 */
export function keyHash(text: string): number {
  const length = Math.min(text.length, KEY_LETTERS_MAX)
  let h = 0
  for (let i = 0; i < length; i += 2) {
    const next = i + 1 < length ? text.charCodeAt(i + 1) : 0
    let block = Math.imul(text.charCodeAt(i) | (next << 16), 0xcc9e2d51)
    block = (block << 15) | (block >>> 17)
    h ^= Math.imul(block, 0x1b873593)
    h = (h << 13) | (h >>> 19)
    h = (Math.imul(h, 5) + 0xe6546b64) | 0
  }
  return mixed(h ^ length)
}

/** MurmurHash3's finalizer: each bit of the one depends on each bit of the other. */
function mixed(bits: number): number {
  let h = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
