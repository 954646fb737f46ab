import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Worker } from 'node:worker_threads'
import {
  FOLDER_THREAD,
  type FolderThreadData,
  type FromFolderThread,
  type ToFolderThread,
} from '../../../control-sync/directory/thread-messages.ts'

const CLUSTER = 'type.googleapis.com/envoy.config.cluster.v3.Cluster'
const THREAD = new URL('../../../control-sync/directory/folder-thread.ts', import.meta.url)

async function started(t: { after(fn: () => Promise<unknown>): void }) {
  const workerData: FolderThreadData = { part: FOLDER_THREAD, build: '' }
  const worker = new Worker(THREAD, { workerData })
  t.after(() => worker.terminate())
  const next = async (): Promise<FromFolderThread> => ((await once(worker, 'message')) as [FromFolderThread])[0]
  assert.deepEqual(await next(), { kind: 'ready', build: '' })
  return (message: ToFolderThread): Promise<FromFolderThread> => {
    const answer = next()
    worker.postMessage(message)
    return answer
  }
}

function folderWith(t: { after(fn: () => void): void }, file: string, resources: number): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-folder-thread-'))
  t.after(() => fs.rmSync(folder, { recursive: true }))
  const all = Array.from({ length: resources }, (_, i) => ({ '@type': CLUSTER, name: `c${i}` }))
  fs.writeFileSync(path.join(folder, file), JSON.stringify({ resources: all }))
  return folder
}

test('a large file comes in pieces, each when it is asked for, and then the rest is told', async (t) => {
  const folder = folderWith(t, 'a.json', 1_100)
  const ask = await started(t)
  const answers = [await ask({ kind: 'read', folder, file: 'a.json', hash: undefined })]
  while (answers.at(-1)!.kind === 'piece') answers.push(await ask({ kind: 'next' }))
  assert.deepEqual(
    answers.map((answer) => (answer.kind === 'piece' ? answer.resources.length : answer.kind)),
    [500, 500, 100, 'done'],
  )
})

test('a piece that is not asked for does not come: the port would hand it over together with the one before', async (t) => {
  const folder = folderWith(t, 'a.json', 1_100)
  const ask = await started(t)
  assert.equal((await ask({ kind: 'read', folder, file: 'a.json', hash: undefined })).kind, 'piece')
  const answer = await ask({ kind: 'read', folder, file: 'none.json', hash: undefined })
  assert.ok(answer.kind === 'done' && answer.problems[0]?.file === 'none.json')
})
