/** The storage thread: SQLite behind messages. Nothing here is awaited by the event loop that carries traffic. */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { parentPort } from 'node:worker_threads'
import type { Addon } from './sqlite-addon.ts'
import { SqliteFile } from './sqlite-file.ts'
import type { Answer, Failure, FromThread, Job, ToThread } from './storage-messages.ts'

const files = new Map<number, SqliteFile>()
/** Addons that are what they should be. */
const sound = new Set<string>()

parentPort!.on('message', (message: ToThread) => {
  if (message.kind === 'prepare') prepare(message.addon)
  else parentPort!.postMessage(answerTo(message))
})

function prepare(addon: Addon): void {
  try { if (isSound(addon)) SqliteFile.load(addon.file) } catch { /* whoever opens a file will see why */ }
}

function isSound({ file, sha256 }: Addon): boolean {
  try { if (!sound.has(file) && createHash('sha256').update(fs.readFileSync(file)).digest('hex') === sha256) sound.add(file) } catch { return false }
  return sound.has(file)
}

function answerTo(message: Exclude<ToThread, { kind: 'prepare' }>): FromThread {
  const { kind, file } = message
  switch (kind) {
    case 'open':
      if (message.how.addon && !isSound(message.how.addon)) return { kind: 'no addon', file, how: message.how }
      try {
        const { opened, setAside } = SqliteFile.open({ ...message.how, addon: message.how.addon?.file })
        files.set(file, opened)
        return { kind: 'opened', file, setAside }
      } catch (thrown) { return { kind: 'refused', file, failed: failureOf(thrown) } }
    case 'batch': return { kind: 'answers', file, ...run(files.get(file), message.jobs) }
    case 'close':
      try { files.get(file)?.close() } catch { /* what was committed is safe without it */ }
      files.delete(file)
      return { kind: 'closed', file }
    default: return message satisfies never
  }
}

function run(open: SqliteFile | undefined, jobs: readonly Job[]): { answers: Answer[]; transactions: number } {
  const answers: Answer[] = Array.from({ length: jobs.length }, () => 'done')
  if (!open) return { answers: answers.fill({ failed: { code: 'MESH_STORAGE_FAILED', message: 'the file is not open' } }), transactions: 0 }
  const commits = jobs.flatMap((job, i) => ('commit' in job ? [{ statements: job.commit, i }] : []))
  let transactions = commits.length === 0 ? 0 : 1
  try {
    if (transactions > 0) open.commit(commits.flatMap(({ statements }) => statements))
  } catch (together) {
    // Each in its own, so that a bad one fails alone.
    if (commits.length === 1) answers[commits[0]!.i] = { failed: failureOf(together) }
    else for (const { statements, i } of commits) answers[i] = attempt(() => { open.commit(statements); transactions++; return 'done' })
  }
  for (const [i, job] of jobs.entries()) if ('query' in job) answers[i] = attempt(() => ({ rows: open.query(job.query) }))
  return { answers, transactions }
}

function attempt(work: () => Answer): Answer {
  try { return work() } catch (thrown) { return { failed: failureOf(thrown) } }
}

function failureOf(thrown: unknown): Failure {
  const { code = '', message } = thrown as Error & { code?: string }
  if (code === 'MESH_STORAGE_NEWER') return { code, message }
  return { code: catalogueCode(code), message: `${message}${code === '' ? '' : ` (${code})`}` }
}

function catalogueCode(code: string): Failure['code'] {
  // SHMSIZE: the index of the log could not grow.
  if (code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_SHMSIZE' || code === 'ENOSPC') return 'MESH_STORAGE_FULL'
  // Files are opened for this process alone.
  if (code.startsWith('SQLITE_BUSY')) return 'MESH_STATE_IN_USE'
  // Whoever started the agent once as root leaves files that its user may not open.
  if (code === 'SQLITE_PERM' || code.startsWith('SQLITE_CANTOPEN') || code.startsWith('SQLITE_READONLY')) return 'MESH_STATE_UNUSABLE'
  return 'MESH_STORAGE_FAILED'
}
