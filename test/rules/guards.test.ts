import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { unguarded } from './checks/guards.ts'

/** File or folder → why nobody else's traffic hangs on a callback there. */
const EXEMPT: Readonly<Record<string, string>> = {
  'agent/cli/mqtt/connection.ts': 'a command that ends',
  'agent/cli/mqtt/publish.ts': 'a command that ends',
  'agent/cli/mqtt/request.ts': 'a command that ends',
  'agent/cli/mqtt/subscribe.ts': 'a command that ends',
  'agent/cli/admin-client.ts': 'a command that ends',
  'agent/main.ts': 'signals and stdout: the process itself',
  'hub/main.ts': 'signals and stdout: the process itself',
  'core/storage/thread.ts': 'a thread of its own: its `error` event is heard by thread-handle.ts, which starts another',
  'core/defects/guard.ts': 'the guard',
  'core/defects/shared-listeners.ts': 'guards what it is given',
  'core/defects/last-line.ts': 'hears of what was not guarded',
}

const files = ['agent', 'control-sync', 'protocols', 'hub', 'model', 'proto', 'core']
  .flatMap((dir) => fs.globSync(`${dir}/**/*.ts`))
  .filter((f) => !f.startsWith('proto/gen/') && !(f in EXEMPT))

for (const { name, code } of [
  { name: 'an arrow', code: `socket.on('data', (chunk) => use(chunk))` },
  { name: 'a name that is not guarded', code: `const onData = (chunk) => use(chunk)\nsocket.on('data', onData)` },
  { name: 'the second of two', code: `socket.on('end', guard('tcp', end, fn)).once('close', this.#onClose)` },
  { name: 'a method', code: `session.once('goaway', this.#leave.bind(this))` },
  { name: 'an object whose handleEvent is not guarded', code: `signal.addEventListener('abort', this)` },
  { name: 'an abort signal', code: `signal.addEventListener('abort', () => { work() }, { once: true })` },
  { name: 'a server', code: `http.createServer({ a: 1 }, (req, res) => { answer(req, res) })` },
  { name: 'what is called at the end of a write', code: `stream.end('bye', () => { this.#closed() })` },
  { name: 'what is called when a port is open', code: `server.listen(0, () => { this.#open() })` },
  { name: 'a microtask', code: `queueMicrotask(() => this.#tell())` },
  { name: 'a timer beside the clock', code: `setTimeout(() => look(), 5)` },
  { name: 'a promise thrown away', code: `function f() {\n  void work()\n}` },
  { name: 'a promise thrown away in an arrow', code: `on(() => { void this.flush() })` },
  {
    name: 'a chain whose end may throw',
    code: `{\n    commit.run()\n      .then(() => settle())\n      .catch((err) => refuse(err))\n  }`,
  },
  { name: 'a chain on a call with an arrow', code: `{\n    enqueue(() => work()).catch((err) => fail(err))\n  }` },
  { name: 'a chain of two arms', code: `{\n    dns.ready().then(() => go(), (err) => fail(err))\n  }` },
])
  test(`the rule catches ${name}`, () => {
    assert.notDeepEqual(unguarded(code), [])
  })

for (const { name, code } of [
  { name: 'what is guarded in place', code: `socket.on('data', guard('tcp', end, (chunk) => use(chunk)))` },
  {
    name: 'a name that is guarded',
    code: `readonly #onData = guard('tcp', end, fn)\nstream.on('data', this.#onData)`,
  },
  {
    name: 'an object whose handleEvent is guarded',
    code: `signal.addEventListener('abort', this)\nhandleEvent(): void {\n  tell(this)\n}\nconst tell = guard('tcp', end, fn)`,
  },
  { name: 'what cannot throw', code: `stream.on('error', doNothing)\nsession.on('error', reject)` },
  {
    name: 'what is awaited, returned or kept',
    code: `await a.then(b)\nreturn a.catch(b)\nthis.#work = this.#work.then(x)\nconst c = a.then(b, (e) => f(e))`,
  },
  { name: 'what is detached', code: `detach('mqtt', a.run().then(() => x(), (e) => y(e)))` },
  { name: 'a failure told elsewhere', code: `a.b().catch(doNothing)` },
  { name: 'types', code: `type F = (a: string) => void\nfunction f(): void {\n}` },
])
  test(`the rule lets ${name} pass`, () => {
    assert.deepEqual(unguarded(code), [])
  })

test('every callback of Node goes through a guard and every promise belongs to somebody (core/defects/guard.ts)', () => {
  assert.deepEqual(
    files.flatMap((file) => unguarded(fs.readFileSync(file, 'utf8')).map((what) => `${file}: ${what}`)),
    [],
  )
})

test('what is exempt exists', () => {
  assert.deepEqual(
    Object.keys(EXEMPT).filter((f) => !fs.existsSync(f)),
    [],
  )
})
