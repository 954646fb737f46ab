import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createLog, type Log } from '../../../../core/log.ts'
import { WRITE } from '../../../../protocols/mqtt/authorization/acl.ts'
import { AclFiles } from '../../../../protocols/mqtt/authorization/acl-files.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

class Rig implements Disposable {
  readonly clock = new SimClock()
  readonly disk = new Map<string, string | Error>()
  readonly lines: string[] = []
  changes = 0
  readonly log: Log = createLog('info', {
    write: (line: string) => this.lines.push((JSON.parse(line) as { readonly evt: string }).evt),
  })
  readonly acls = new AclFiles({
    clock: this.clock,
    log: this.log,
    disk: {
      read: (file) => {
        const found = this.disk.get(file)
        if (found instanceof Error) throw found
        return found === undefined ? undefined : Buffer.from(found)
      },
    },
    onChange: () => this.changes++,
  })

  may(topic: string, file = '/acl'): boolean | undefined {
    return this.acls.of(file)?.of({ clientId: 'c', user: undefined })(topic, WRITE)
  }
  get problems(): readonly string[] {
    return this.acls.problems().map((one) => one.message)
  }
  [Symbol.dispose](): void {
    this.acls[Symbol.dispose]()
    assert.equal(this.clock.pendingTimers, 0)
  }
}

test('a file is read at once, and again when it has changed and looks the same twice', async () => {
  using rig = new Rig()
  rig.disk.set('/acl', 'topic a')
  await rig.acls.use(['/acl'])
  assert.deepEqual([rig.may('a'), rig.may('b'), rig.changes, rig.problems], [true, false, 0, []])
  rig.disk.set('/acl', 'topic a\ntopic b\n')
  await rig.clock.advance(5_000)
  assert.equal(rig.may('b'), false, 'it may be half of one')
  rig.disk.set('/acl', 'topic a\ntopic b\ntopic deny a')
  await rig.clock.advance(250)
  assert.deepEqual([rig.may('a'), rig.may('b')], [true, false], 'it was half of one')
  await rig.clock.advance(250)
  assert.deepEqual([rig.may('a'), rig.may('b'), rig.changes], [false, true, 1])
  await rig.clock.advance(60_000)
  assert.equal(rig.changes, 1)
  assert.deepEqual(rig.lines, ['mqtt.acl.read', 'mqtt.acl.read'])
})

for (const [what, content, problem] of [
  ['wrong', 'topic a\ntopic b\nwrong', /^\/acl line 3: "wrong" is none/],
  ['gone', undefined, /^there is no file \/acl$/],
  ['unreadable', new Error('EACCES: permission denied'), /^\/acl cannot be read: EACCES/],
] as const)
  test(`a file that is ${what} leaves the last good one in force, and is told once`, async () => {
    using rig = new Rig()
    rig.disk.set('/acl', 'topic a')
    await rig.acls.use(['/acl'])
    if (content === undefined) rig.disk.delete('/acl')
    else rig.disk.set('/acl', content)
    await rig.clock.advance(60_000)
    assert.deepEqual([rig.may('a'), rig.may('b'), rig.changes], [true, false, 0])
    assert.match(rig.problems.join(), problem)
    assert.deepEqual(rig.lines, ['mqtt.acl.read', 'mqtt.acl.refused'])
    for (const next of ['topic a', 'topic b']) {
      rig.disk.set('/acl', next)
      await rig.clock.advance(5_250)
      assert.deepEqual([rig.may(next.slice(-1)), rig.problems], [true, []], next)
      rig.disk.set('/acl', 'wrong again')
      await rig.clock.advance(5_250)
      assert.equal(rig.problems.length, 1)
    }
  })

test('a file that is not there at the start is taken when it comes', async () => {
  using rig = new Rig()
  await rig.acls.use(['/acl'])
  assert.deepEqual([rig.acls.of('/acl'), rig.problems], [undefined, ['there is no file /acl']])
  rig.disk.set('/acl', 'topic a')
  await rig.clock.advance(5_250)
  assert.deepEqual([rig.may('a'), rig.problems, rig.changes], [true, [], 1])
})

test('files that nobody names any more are forgotten', async () => {
  using rig = new Rig()
  rig.disk.set('/a', 'topic a')
  await rig.acls.use(['/a', '/b'])
  rig.disk.set('/b', 'topic b')
  await rig.acls.use(['/b'])
  await rig.clock.advance(5_250)
  assert.deepEqual([rig.acls.of('/a'), rig.may('b', '/b'), rig.problems], [undefined, true, []])
  await rig.acls.use([])
  assert.equal(rig.clock.pendingTimers, 0)
})
