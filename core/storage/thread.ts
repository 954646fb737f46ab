/** The storage thread: SQLite behind messages. Nothing here is awaited by the event loop that carries traffic. */
import path from 'node:path'
import { parentPort } from 'node:worker_threads'
import { collectAll } from '../runtime/full-gc.ts'
import { releaseFilePages } from '../runtime/file-pages.ts'
import { trimMalloc } from '../runtime/malloc-trim.ts'
import { MeshError } from '../errors.ts'
import { releaseBuffer } from '../runtime/release-buffer.ts'
import { loadAddon, type Addon } from './sqlite-addon.ts'
import { isUnreadable, SqliteFile } from './sqlite-file.ts'
import { openSqlite } from './sqlite-open.ts'
import type { Answer, Commit, CommitOfPieces, Failure, FromThread, Job, ToThread } from './messages.ts'
import type { Statement } from './storage.ts'
import { WrittenBytes } from './written-bytes.ts'

const files = new Map<number, SqliteFile>()
/** Of the bundle: not loaded yet, then what better-sqlite3 takes. */
let addon: Addon | object | undefined

/** So many statements and rows leave something that is worth a collection, once nothing has come for a while. */
const BURST = 1_000
const QUIET_MS = 1_000
/** Since the last collection. */
let handled = 0
let quiet: NodeJS.Timeout | undefined

/** Work that takes turns of the event loop; what comes for the same file waits behind it. */
const busy = new Map<number, Promise<void>>()
type Question = Exclude<ToThread, { kind: 'prepare' | 'piece' | 'trim' }>
/** Of the commit of each file that is coming in pieces. */
const pieces = new Map<number, { readonly of: number; readonly commits: Commit[] }>()

parentPort!.on('message', (message: ToThread) => {
  if (message.kind === 'prepare') {
    addon = message.addon
    try {
      sqlite()
    } catch {
      /* whoever opens a file will see why */
    }
    return
  }
  if (message.kind === 'piece') {
    keep(message)
    return
  }
  if (message.kind === 'trim') {
    if (message.rest) collectAll()
    trimMalloc()
    if (message.rest) releaseFilePages()
    return
  }
  const before = busy.get(message.file)
  const answer = before ? before.then(() => answerTo(message)) : answerTo(message)
  if (!(answer instanceof Promise)) {
    send(answer)
    return
  }
  const done = answer.then((a) => {
    if (busy.get(message.file) === done) busy.delete(message.file)
    send(a)
  })
  busy.set(message.file, done)
})

/** Smaller ones cost less when they are copied. */
const MIN_HANDED_OVER_BYTES = 16 * 1024
function send(answer: FromThread): void {
  const changesHands: ArrayBuffer[] = []
  if (answer.kind === 'answers')
    for (const one of answer.answers) {
      if (typeof one !== 'object' || !('rows' in one)) continue
      for (const row of one.rows)
        for (const value of Object.values(row)) {
          if (!(value instanceof Uint8Array) || value.byteLength < MIN_HANDED_OVER_BYTES) continue
          // Not of memory that other values are in.
          const { buffer } = value
          if (buffer instanceof ArrayBuffer && buffer.byteLength === value.byteLength) changesHands.push(buffer)
        }
    }
  parentPort!.postMessage(answer, changesHands)
}

/**
 * @param spare where there may be room for the addon when there is none for temporary files. Undefined: the package
 * finds its own. Throws as `loadAddon`.
 */
function sqlite(spare: readonly string[] = []): object | undefined {
  if (!addon || !('encoded' in addon)) return addon
  const { binding, fd } = loadAddon(addon, spare)
  parentPort!.postMessage({ kind: 'addon', fd } satisfies FromThread)
  SqliteFile.load((addon = binding))
  return binding
}

function keep({ file, of, commit }: Extract<ToThread, { kind: 'piece' }>): void {
  const kept = pieces.get(file)
  if (kept?.of === of) kept.commits.push(commit)
  else pieces.set(file, { of, commits: [commit] })
}

/** Throws when the thread that was told of the first pieces has died. */
function allPieces(file: number, { pieces: of, count }: CommitOfPieces): readonly Commit[] {
  const kept = pieces.get(file)
  pieces.delete(file)
  const commits = kept?.of === of ? kept.commits : []
  if (commits.length !== count) throw new Error(`${count - commits.length} of ${count} pieces of a commit are lost`)
  return commits
}

function answerTo(message: Question): FromThread | Promise<FromThread> {
  const { kind, file } = message
  switch (kind) {
    case 'open':
      return openFile(message)
    case 'batch':
      return { kind: 'answers', file, ...measureWriting(() => run(file, message.jobs)) }
    case 'copy':
      return copy(message)
    case 'close':
      try {
        files.get(file)?.close()
      } catch {
        /* what was committed is safe without it */
      }
      files.delete(file)
      pieces.delete(file)
      return { kind: 'closed', file }
    default:
      return message satisfies never
  }
}

async function openFile({ file, how }: Extract<ToThread, { kind: 'open' }>): Promise<FromThread> {
  try {
    const { opened, ...found } = await openSqlite({ ...how, addon: sqlite([path.dirname(how.path)]) })
    files.set(file, opened)
    return { kind: 'opened', file, ...found }
  } catch (thrown) {
    return { kind: 'refused', file, failed: failureOf(thrown) }
  }
}

async function copy({ file, to }: Extract<ToThread, { kind: 'copy' }>): Promise<FromThread> {
  try {
    const open = files.get(file)
    if (!open) throw new Error('the file is not open')
    return { kind: 'copied', file, result: await open.copyTo(to) }
  } catch (thrown) {
    return { kind: 'copied', file, result: failureOf(thrown) }
  }
}

let written: WrittenBytes | undefined
function measureWriting<T>(work: () => T): T & { readonly writtenBytes: number | undefined } {
  const before = (written ??= new WrittenBytes()).read()
  const done = work()
  const after = written.read()
  return { ...done, writtenBytes: before === undefined || after === undefined ? undefined : after - before }
}

function run(file: number, jobs: readonly Job[]): { answers: Answer[]; transactions: number } {
  const answers: Answer[] = Array.from({ length: jobs.length }, () => 'done')
  const open = files.get(file)
  const commits: Whole[] = []
  for (const [i, job] of jobs.entries()) {
    if ('commit' in job) commits.push({ parts: [job], i })
    else if ('pieces' in job)
      answers[i] = attempt(() => {
        commits.push({ parts: allPieces(file, job), i })
        return 'done'
      })
  }
  if (!open)
    return {
      answers: answers.fill({ failed: { code: 'MESH_STORAGE_FAILED', message: 'the file is not open' } }),
      transactions: 0,
    }
  let transactions = commits.length === 0 ? 0 : 1
  try {
    if (transactions > 0) open.commit(statementsOf(commits))
  } catch (together) {
    // Each in its own, so that a bad one fails alone.
    if (commits.length === 1) answers[commits[0]!.i] = { failed: failureOf(together) }
    else
      for (const one of commits)
        answers[one.i] = attempt(() => {
          open.commit(statementsOf([one]))
          transactions++
          return 'done'
        })
  }
  // A collection is not to be waited for.
  for (const { parts } of commits)
    for (const { commit, piece } of parts) {
      handled += commit.length
      if (piece) releaseBuffer(new Uint8Array(piece))
    }
  for (const [i, job] of jobs.entries())
    if ('query' in job) answers[i] = attempt(() => ({ rows: open.query(job.query) }))
  for (const answer of answers) if (typeof answer === 'object' && 'rows' in answer) handled += answer.rows.length
  collectWhenQuiet()
  return { answers, transactions }
}

type Whole = { readonly parts: readonly Commit[]; /** Of its job. */ readonly i: number }

function* statementsOf(commits: readonly Whole[]): Generator<Statement> {
  for (const { parts } of commits)
    for (const { texts, commit } of parts)
      for (const { text, params } of commit) yield params ? { sql: texts[text]!, params } : { sql: texts[text]! }
}

/**
 * What a burst leaves would lie here for weeks: of a thousand changes four megabytes, in a thread that hardly does
 * anything. For less a collection takes more than it gives.
 */
function collectWhenQuiet(): void {
  if (handled < BURST) return
  if (quiet) {
    quiet.refresh()
    return
  }
  quiet = setTimeout(() => {
    quiet = undefined
    handled = 0
    collectAll()
  }, QUIET_MS)
}

function attempt(work: () => Answer): Answer {
  try {
    return work()
  } catch (thrown) {
    return { failed: failureOf(thrown) }
  }
}

function failureOf(thrown: unknown): Failure {
  const { code = '', message } = thrown as Error & { code?: string }
  if (thrown instanceof MeshError) return { code: thrown.code, message }
  if (code === 'MESH_STORAGE_NEWER') return { code, message }
  return {
    code: isUnreadable(thrown) ? 'MESH_STORAGE_DAMAGED' : catalogueCode(code),
    message: `${message}${code === '' ? '' : ` (${code})`}`,
  }
}

function catalogueCode(code: string): Failure['code'] {
  // SHMSIZE: the index of the log could not grow.
  if (code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_SHMSIZE' || code === 'ENOSPC') return 'MESH_STORAGE_FULL'
  // Files are opened for this process alone.
  if (code.startsWith('SQLITE_BUSY')) return 'MESH_STATE_IN_USE'
  // A run as root leaves files that the agent's own user may not open.
  if (
    code === 'SQLITE_PERM' ||
    code.startsWith('SQLITE_CANTOPEN') ||
    code.startsWith('SQLITE_READONLY') ||
    code === 'EACCES' ||
    code === 'EPERM' ||
    code === 'EROFS'
  )
    return 'MESH_STATE_UNUSABLE'
  return 'MESH_STORAGE_FAILED'
}
