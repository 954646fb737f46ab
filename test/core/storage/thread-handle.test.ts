import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import path from 'node:path'
import type { Worker } from 'node:worker_threads'
import type { MeshError } from '../../../core/errors.ts'
import type { ToThread } from '../../../core/storage/messages.ts'
import { startWorker, StorageThread, type ThreadAnswer } from '../../../core/storage/thread-handle.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { TABLE } from './rig.ts'

/** One file's part of the thread: what it was answered, and why it failed. */
class User {
  readonly file: number
  readonly failures: MeshError[] = []
  readonly #thread: StorageThread
  readonly #heard: ThreadAnswer[] = []
  #wake: (() => void) | undefined

  constructor(thread: StorageThread) {
    this.#thread = thread
    this.file = thread.register({
      answered: (message) => {
        this.#heard.push(message)
        this.#wake?.()
      },
      failed: (error) => {
        this.failures.push(error)
        this.#wake?.()
      },
    })
  }
  open(folder: string): MeshError | undefined {
    return this.#thread.send({
      kind: 'open',
      file: this.file,
      how: {
        path: path.join(folder, `${this.file}.db`),
        profile: 'balanced',
        migrations: [TABLE],
        previous: undefined,
        startFrom: 'file',
        check: 'whole',
        stamp: 's',
        whenDamaged: 'set aside',
      },
    })
  }
  close(): void {
    this.#thread.send({ kind: 'close', file: this.file })
  }
  /** The next answer. */
  async answer(): Promise<ThreadAnswer> {
    while (this.#heard.length === 0 && this.failures.length === 0)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    return this.#heard.shift() ?? assert.fail(this.failures[0]!.message)
  }
}
/** Threads that are started, in order; they end with the test. */
function threads(t: TestContext): Worker[] {
  const started: Worker[] = []
  const note = (worker: Worker): void => {
    started.push(worker)
  }
  process.on('worker', note)
  t.after(async () => {
    process.off('worker', note)
    await Promise.all(started.map((worker) => worker.terminate()))
  })
  return started
}
async function end(worker: Worker): Promise<void> {
  const exited = once(worker, 'exit')
  await worker.terminate()
  await exited
}

test('the thread is started when there is something to do, and each answer goes to the file that it is for', async (t) => {
  const [started, folder] = [threads(t), temporaryFolder(t)]
  const thread = new StorageThread({ bundle: undefined })
  const [one, two] = [new User(thread), new User(thread)]
  assert.notEqual(one.file, two.file)
  assert.equal(started.length, 0)
  for (const user of [two, one]) assert.equal(user.open(folder), undefined)
  for (const user of [one, two]) {
    const { kind, file } = await user.answer()
    assert.deepEqual([kind, file], ['opened', user.file])
  }
  one.close()
  assert.equal((await one.answer()).kind, 'closed')
  assert.equal(started.length, 1)
})

test('a thread that was started before is the first that is used', async (t) => {
  const started = threads(t)
  const worker = startWorker(undefined)
  const user = new User(new StorageThread({ bundle: undefined, worker }))
  user.open(temporaryFolder(t))
  assert.equal((await user.answer()).kind, 'opened')
  assert.deepEqual(started, [worker])
})

test('when the thread dies every file is told once, and what is sent next goes to a new one', async (t) => {
  const [started, folder] = [threads(t), temporaryFolder(t)]
  const thread = new StorageThread({ bundle: undefined })
  const users = [new User(thread), new User(thread)]
  for (const user of users) user.open(folder)
  for (const user of users) await user.answer()
  await end(started[0]!)
  assert.deepEqual(
    users.map((user) => user.failures.map((error) => error.code)),
    [['MESH_STORAGE_FAILED'], ['MESH_STORAGE_FAILED']],
  )
  assert.match(users[0]!.failures[0]!.message, /the storage thread broke: it ended with 1/)
  users[0]!.failures.length = 0
  users[0]!.open(folder)
  assert.equal((await users[0]!.answer()).kind, 'opened')
  assert.equal(started.length, 2)
})

test('a file that is forgotten hears of nothing more', async (t) => {
  const [started, folder] = [threads(t), temporaryFolder(t)]
  const thread = new StorageThread({ bundle: undefined })
  const [gone, stays] = [new User(thread), new User(thread)]
  for (const user of [gone, stays]) user.open(folder)
  thread.forget(gone.file)
  assert.equal((await stays.answer()).kind, 'opened')
  await end(started[0]!)
  assert.deepEqual([gone.failures, stays.failures.length], [[], 1])
})

test('what cannot be sent is refused to the sender, and fails nobody', async (t) => {
  const started = threads(t)
  const thread = new StorageThread({ bundle: undefined })
  const user = new User(thread)
  const unsendable = { kind: 'batch', file: user.file, jobs: [{ query: { sql: 'x', params: [() => 1] } }] }
  const refused = thread.send(unsendable as unknown as ToThread)
  assert.equal(refused?.code, 'MESH_STORAGE_FAILED')
  assert.deepEqual(user.failures, [])
  user.open(temporaryFolder(t))
  assert.equal((await user.answer()).kind, 'opened')
  assert.equal(started.length, 1)
})

test('what changes hands is gone from here', async (t) => {
  threads(t)
  const thread = new StorageThread({ bundle: undefined })
  const user = new User(thread)
  const piece = new ArrayBuffer(8)
  thread.send({ kind: 'piece', file: user.file, of: 1, commit: { texts: [], commit: [], piece } }, [piece])
  assert.equal(piece.byteLength, 0)
  user.open(temporaryFolder(t))
  assert.equal((await user.answer()).kind, 'opened', 'a piece has no answer of its own')
})
