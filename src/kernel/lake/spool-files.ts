import { open, readFile, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { isMissing, readDirOrNothing } from './durable-files.ts'
import type { SegmentFooter, SegmentHeader } from './spool-format.ts'
import { decodeBody, FOOTER_FRAME_BYTES, FRAME_HEAD_BYTES, intactBody, kindOf, walkFrames } from './spool-format.ts'

/**
 * The spool on disk:
 *
 *   spool/<instance>.lock            held by the gateway that writes there, see process-lock.ts
 *   spool/<instance>/0000000001.open being written
 *   spool/<instance>/0000000001.seg  sealed: never changes again, deleted once the lake has it
 *   spool/<instance>/counters.json   replaced by rename each second
 */
export interface SegmentFile {
  instance: string
  /** Grows by one per segment within an instance's folder. */
  sequence: number
  path: string
  sealed: boolean
}

export function segmentName(sequence: number, sealed: boolean): string {
  return `${String(sequence).padStart(10, '0')}.${sealed ? 'seg' : 'open'}`
}

export function lockPath(spoolDir: string, instance: string): string {
  return join(spoolDir, `${instance}.lock`)
}

/** Folder names of all instances, in order; none where the spool does not exist yet. A file among them is nobody's. */
export async function listInstances(spoolDir: string): Promise<string[]> {
  const names = (await readDirOrNothing(spoolDir)).filter(isInstanceName).toSorted()
  const isFolder = await Promise.all(
    names.map(async (name) => (await stat(join(spoolDir, name)).catch(nullIfMissing))?.isDirectory() === true),
  )
  return names.filter((_, at) => isFolder[at])
}

/** Set aside between the two looks. */
function nullIfMissing(error: unknown): null {
  if (isMissing(error)) return null
  throw error
}

/** Segments of one instance in the order in which they were written. */
export async function listSegments(spoolDir: string, instance: string): Promise<SegmentFile[]> {
  const dir = join(spoolDir, instance)
  const files: SegmentFile[] = []
  for (const name of await readDirOrNothing(dir)) {
    const match = /^(\d{10,})\.(open|seg)$/.exec(name)
    if (match) files.push({ instance, sequence: Number(match[1]), path: join(dir, name), sealed: match[2] === 'seg' })
  }
  return files.toSorted((a, b) => a.sequence - b.sequence)
}

/** The header alone, from the first kilobytes; null where the first frame is not an intact header. */
export async function readSegmentHeader(path: string): Promise<SegmentHeader | null> {
  const file = await open(path)
  try {
    const head = Buffer.alloc(4096)
    const { bytesRead } = await file.read(head, 0, head.length, 0)
    return headerIn(head.subarray(0, bytesRead))
  } finally {
    await file.close()
  }
}

export function headerIn(bytes: Buffer): SegmentHeader | null {
  const body = intactBody(bytes, 0)
  if (body === null || kindOf(body) !== 'header') return null
  return decodeBody(body) as SegmentHeader
}

/** How many records a segment holds: by its footer, or by a walk where it has none (still open, or sealed on a full disk). */
export async function countSegment(path: string): Promise<{ predictions: number; labels: number; bytes: number }> {
  const file = await open(path)
  try {
    const bytes = (await file.stat()).size
    const footer = await readFooter(file, bytes)
    if (footer) return { predictions: footer.predictions, labels: footer.labels, bytes }
  } finally {
    await file.close()
  }
  const content = await readFile(path)
  return { ...countFrames(content), bytes: content.length }
}

export function countFrames(bytes: Buffer): { predictions: number; labels: number; end: number; footer: boolean } {
  const counts = { predictions: 0, labels: 0, footer: false }
  const { end } = walkFrames(bytes, (body) => {
    const kind = kindOf(body)
    if (kind === 'prediction') counts.predictions++
    else if (kind === 'label') counts.labels++
    counts.footer = kind === 'footer'
  })
  return { ...counts, end }
}

async function readFooter(file: Awaited<ReturnType<typeof open>>, size: number): Promise<SegmentFooter | null> {
  if (size < FOOTER_FRAME_BYTES) return null
  const tail = Buffer.alloc(FOOTER_FRAME_BYTES)
  const { bytesRead } = await file.read(tail, 0, tail.length, size - FOOTER_FRAME_BYTES)
  const body = bytesRead === tail.length ? intactBody(tail, 0) : null
  if (body === null || kindOf(body) !== 'footer' || body.length !== FOOTER_FRAME_BYTES - FRAME_HEAD_BYTES) return null
  return decodeBody(body) as SegmentFooter
}

/** An instance's name becomes a folder: letters, digits, dot, dash and underscore only, no leading dot. */
export function isInstanceName(name: string): boolean {
  return /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/.test(name) && basename(name) === name && !name.includes('.lock')
}
