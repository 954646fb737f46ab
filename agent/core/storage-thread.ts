/** The storage thread: SQLite behind messages. Nothing here is awaited by the event loop that carries traffic. */
import { parentPort, workerData } from 'node:worker_threads'
import { SqliteFile } from './sqlite-file.ts'
import type { Answer, Failure, FromThread, ThreadStart, ToThread } from './storage-messages.ts'

const { addon } = workerData as ThreadStart
const files = new Map<number, SqliteFile>()

parentPort!.on('message', (message: ToThread) => { parentPort!.postMessage({ answers: answersTo(message) } satisfies FromThread) })

function answersTo(message: ToThread): Answer[] {
  if (message.kind === 'commit') return commit(message)
  try { return [answerTo(message)] } catch (thrown) { return [{ id: message.id, error: failureOf(thrown) }] }
}

function answerTo(message: Exclude<ToThread, { kind: 'commit' }>): Answer {
  const { id, file } = message
  switch (message.kind) {
    case 'open': {
      const { opened, setAside } = SqliteFile.open({ ...message, addon })
      files.set(file, opened)
      return { id, setAside }
    }
    case 'query': return { id, rows: fileOf(file).query(message.statement) }
    case 'close':
      files.get(file)?.close()
      files.delete(file)
      return { id, done: true }
    default: return message satisfies never
  }
}

/** All jobs in one transaction; when one of them fails, each in its own, so that a bad one fails alone. */
function commit({ file, jobs }: Extract<ToThread, { kind: 'commit' }>): Answer[] {
  try {
    fileOf(file).commit(jobs.flatMap((j) => j.statements))
    return jobs.map(({ id }) => ({ id, done: true }))
  } catch (together) {
    if (jobs.length === 1) return [{ id: jobs[0]!.id, error: failureOf(together) }]
    return jobs.map(({ id, statements }): Answer => {
      try { fileOf(file).commit(statements); return { id, done: true } } catch (thrown) { return { id, error: failureOf(thrown) } }
    })
  }
}

function fileOf(file: number): SqliteFile {
  const open = files.get(file)
  if (!open) throw new Error('the file is not open')
  return open
}

function failureOf(thrown: unknown): Failure {
  const { code = '', message } = thrown as Error & { code?: string }
  if (code === 'MESH_STORAGE_NEWER') return { code, message }
  const full = code === 'SQLITE_FULL' || code === 'ENOSPC' || /No space left|database or disk is full/i.test(message)
  return { code: full ? 'MESH_STORAGE_FULL' : 'MESH_STORAGE_FAILED', message: `${message}${code === '' ? '' : ` (${code})`}` }
}
