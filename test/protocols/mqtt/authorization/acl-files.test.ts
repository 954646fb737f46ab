import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createLog, type Log } from '../../../../core/log.ts'
import { WRITE } from '../../../../protocols/mqtt/authorization/acl.ts'
import { AclFiles } from '../../../../protocols/mqtt/authorization/acl-files.ts'
import { FilesDisk } from '../../../helpers/mqtt/users.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

class Rig implements Disposable {
  readonly clock = new SimClock()
  readonly files = new FilesDisk()
  readonly lines: string[] = []
  changes = 0
  readonly log: Log = createLog('info', {
    write: (line: string) => this.lines.push((JSON.parse(line) as { readonly evt: string }).evt),
  })
  readonly acls = new AclFiles({
    clock: this.clock,
    log: this.log,
    disk: this.files.disk,
    onChange: () => this.changes++,
  })

  may(topic: string, file = '/acl'): boolean | undefined {
    return this.acls.find(file)?.compileFor({ clientId: 'c', user: undefined })(topic, WRITE)
  }
  get problems(): readonly string[] {
    return this.acls.problems().map((one) => one.message)
  }
  [Symbol.dispose](): void {
    this.acls[Symbol.dispose]()
    assert.equal(this.clock.pendingTimers, 0)
  }
}

test('a change is taken once it has looked the same twice; half of one is not', async () => {
  using rig = new Rig()
  rig.files.write('/acl', 'topic a')
  await rig.acls.use(['/acl'])
  assert.deepEqual([rig.may('a'), rig.may('b'), rig.changes, rig.problems], [true, false, 0, []])
  rig.files.write('/acl', 'topic a\ntopic b\n')
  await rig.clock.advance(2_000)
  rig.files.write('/acl', 'topic a\ntopic b\ntopic deny a')
  await rig.clock.advance(250)
  assert.deepEqual([rig.may('a'), rig.may('b')], [true, false], 'it was half of one')
  await rig.clock.advance(250)
  assert.deepEqual([rig.may('a'), rig.may('b'), rig.changes], [false, true, 1])
})

test('a line that is wrong is told with its place; the last good file stays in force', async () => {
  using rig = new Rig()
  rig.files.write('/acl', 'topic a')
  await rig.acls.use(['/acl'])
  rig.files.write('/acl', 'topic a\ntopic b\nwrong')
  await rig.clock.advance(60_000)
  assert.deepEqual([rig.may('a'), rig.may('b'), rig.changes], [true, false, 0])
  assert.match(rig.problems.join(), /^mqtt\.aclFile \/acl: line 3: "wrong" is none/)
  assert.deepEqual(rig.lines, ['mqtt.acl', 'mqtt.acl'])
})

test('a file that others may write is not taken, whatever it allows', async () => {
  using rig = new Rig()
  rig.files.write('/acl', 'topic #', { mode: 0o664 })
  await rig.acls.use(['/acl'])
  assert.equal(rig.acls.find('/acl'), undefined)
  assert.match(rig.problems.join(), /others than its owner may write it.*chmod go-w \/acl.*nobody connects/)
  rig.files.write('/acl', 'topic a')
  await rig.clock.advance(2_250)
  rig.files.write('/acl', 'topic #', { isOurs: false })
  await rig.clock.advance(2_250)
  assert.deepEqual([rig.may('a'), rig.may('b')], [true, false])
  assert.match(rig.problems.join(), /belongs neither to root nor to meshlet's user.*what was read before counts/)
})

test('files that nobody names any more are forgotten', async () => {
  using rig = new Rig()
  rig.files.write('/a', 'topic a')
  await rig.acls.use(['/a', '/b'])
  rig.files.write('/b', 'topic b')
  await rig.acls.use(['/b'])
  await rig.clock.advance(2_250)
  assert.deepEqual([rig.acls.find('/a'), rig.may('b', '/b'), rig.problems], [undefined, true, []])
  await rig.acls.use([])
  assert.equal(rig.clock.pendingTimers, 0)
})
