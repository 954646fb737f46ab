import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { runSystemCommand } from '../../../core/os/command.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const never = new AbortController().signal
const sh = (script: string, signal = never): ReturnType<typeof runSystemCommand> =>
  runSystemCommand(['/bin/sh', '-c', script], signal)

test('exit code and output of both streams', async () => {
  assert.deepEqual(
    await sh('echo a; echo b >&2; exit 3').then((r) => ({ ...r, output: r.output.split('\n').sort() })),
    { code: 3, output: ['', 'a', 'b'] },
  )
  assert.deepEqual(await sh('kill -9 $$'), { code: undefined, output: '' })
})

test('arguments are taken as they are, without a shell', async () => {
  assert.deepEqual(await runSystemCommand(['/bin/echo', '$HOME;', '*'], never), { code: 0, output: '$HOME; *\n' })
})

test('nothing of the environment but PATH', async () => {
  process.env['MESHLET_TEST_SECRET'] = 'x'
  assert.deepEqual(
    (await runSystemCommand(['/usr/bin/env'], never)).output
      .split('\n')
      .map((l) => l.split('=')[0])
      .filter((n) => n !== ''),
    ['PATH'],
  )
})

test('output is bounded', async () => {
  assert.deepEqual((await sh('head -c 3000000 /dev/zero')).output.length, 4_096)
})

test('a program that does not exist', async () => {
  await assert.rejects(runSystemCommand(['/nowhere/check'], never), { code: 'ENOENT' })
  await assert.rejects(runSystemCommand(['/bin/true'], AbortSignal.abort(new Error('late'))), { message: 'late' })
})

test('given up, it is killed with what it started; ended, what it started is killed too', async (t) => {
  const folder = temporaryFolder(t)
  /** Asks again until something comes; what does not within five seconds never does. */
  const until = async <T>(what: string, ask: () => T | undefined): Promise<T> => {
    for (const by = performance.now() + 5_000; performance.now() < by;) {
      const got = ask()
      if (got !== undefined) return got
      await new Promise((resolve) => {
        setTimeout(resolve, 5)
      })
    }
    return assert.fail(`did not happen: ${what}`)
  }
  const pid = (file: string): Promise<number> =>
    until('it has started', () => (fs.existsSync(file) && Number(fs.readFileSync(file, 'utf8'))) || undefined)
  /** Also a zombie that nobody has waited for yet is dead. */
  const dead = async (of: number): Promise<void> => {
    t.after(() => {
      try {
        process.kill(of, 'SIGKILL')
      } catch {
        /* as it should be */
      }
    })
    await until(`${of} is dead`, () => {
      try {
        return /^State:\tZ/m.test(fs.readFileSync(`/proc/${of}/status`, 'utf8')) || undefined
      } catch {
        return true
      }
    })
  }
  const giveUp = new AbortController()
  const running = sh(`sleep 1000 & echo $! > ${folder}/a; wait`, giveUp.signal)
  const started = await pid(`${folder}/a`)
  giveUp.abort(new Error('late'))
  await assert.rejects(running, { message: 'late' })
  await dead(started)
  assert.deepEqual(await sh(`sleep 1000 & echo $! > ${folder}/b`), { code: 0, output: '' })
  await dead(await pid(`${folder}/b`))
})
