/**
 * The thread that reads resource files: to parse megabytes of YAML, and to know all of Envoy's messages, takes seconds
 * and memory that the data path must not wait for. Answers one question after the other.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { guard } from '../../core/defects/guard.ts'
import { listAllMessages } from './known.ts'
import type { FileContent } from './parse.ts'
import { readOne } from './read.ts'
import {
  isFolderThread,
  type FileRequest,
  type FromFolderThread,
  type PackedResource,
  type ToFolderThread,
} from './thread-messages.ts'

/** Each piece is a turn of the thread that it goes to, which asks for the next one. */
const PIECE_BYTES = 256 * 1024
const PIECE_RESOURCES = 500

export function serveFolderThread(build: string): void {
  const port = parentPort!
  let answer: Iterator<FromFolderThread> | undefined
  port.on(
    'message',
    guard('configuration', doNothing, (message: ToFolderThread) => {
      if (message.kind === 'read') answer = answerTo(message)
      const { value, done } = answer?.next() ?? { done: true }
      if (!done) port.postMessage(value, value.kind === 'piece' ? [value.bytes.buffer] : [])
    }),
  )
  port.postMessage({ kind: 'ready', build } satisfies FromFolderThread)
}

function* answerTo({ folder, file, hash }: FileRequest): Generator<FromFolderThread, undefined> {
  const { content, ...read } = readOne(folder, file, hash, listAllMessages())
  if (typeof content === 'string') {
    yield { kind: 'done', ...read, outcome: content, problems: [], blocked: [] }
    return
  }
  yield* piecesOf(content)
  yield { kind: 'done', ...read, outcome: 'content', problems: content.problems, blocked: content.blocked ?? [] }
}

function* piecesOf({ resources }: FileContent): Iterable<Extract<FromFolderThread, { kind: 'piece' }>> {
  for (let from = 0; from < resources.length;) {
    const packed: PackedResource[] = []
    let to = 0
    for (
      ;
      from + packed.length < resources.length &&
      packed.length < PIECE_RESOURCES &&
      (packed.length === 0 || to < PIECE_BYTES);
    ) {
      const { kind, name, line, value } = resources[from + packed.length]!
      packed.push([kind, name, line, (to += value.length)])
    }
    const bytes = new Uint8Array(to)
    let at = 0
    for (const { value } of resources.slice(from, from + packed.length)) {
      bytes.set(value, at)
      at += value.length
    }
    yield { kind: 'piece', resources: packed, bytes }
    from += packed.length
  }
}

function doNothing(): void {
  /* who asked is told that the thread has ended */
}

// From the sources: this file is what the thread runs. In the bundle main.ts calls.
if (isFolderThread(workerData) && workerData.build === '') serveFolderThread('')
