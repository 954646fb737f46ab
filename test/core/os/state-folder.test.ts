import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { prepareState } from '../../../agent/control-sync-settings.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { MeshError } from '../../../core/errors.ts'
import { replaceAtomically } from '../../../core/os/atomic-write.ts'
import { secureFolder } from '../../../core/os/state-folder.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const OTHER = 65_534
const asRoot = process.getuid?.() === 0 ? {} : { skip: 'needs root, to be two users' }

function machine(t: TestContext): { folder: string; state: string } {
  const folder = temporaryFolder(t)
  fs.chmodSync(folder, 0o755)
  const state = path.join(folder, 'state')
  fs.mkdirSync(path.join(state, 'identity'), { recursive: true, mode: 0o700 })
  fs.writeFileSync(path.join(state, 'identity/identity.json'), 'key', { mode: 0o600 })
  fs.writeFileSync(path.join(state, 'spool.db'), 'messages', { mode: 0o600 })
  return { folder, state }
}
const modeOf = (file: string): string => (fs.statSync(file).mode & 0o7777).toString(8)
const owned = (state: string, uid: number): void => {
  for (const name of ['.', 'identity', 'identity/identity.json', 'spool.db'])
    fs.chownSync(path.join(state, name), uid, uid)
}
/** What a process of another user is told; '' when it takes the folder. */
function asOther(state: string): string {
  const program = `import { prepareState } from ${JSON.stringify(path.resolve(import.meta.dirname, '../../../agent/control-sync-settings.ts'))}; import { systemDisk } from ${JSON.stringify(path.resolve(import.meta.dirname, '../../../core/os/disk.ts'))}
try { prepareState(process.argv[1], systemDisk) } catch (err) { console.log(err.code + ': ' + err.message) }`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program, state], {
    encoding: 'utf8',
    uid: OTHER,
    gid: OTHER,
    cwd: '/',
  })
  assert.equal(stderr, '')
  return stdout.trim()
}

test('a folder and files of our own are taken; what others may read is closed, and code of earlier versions is gone', (t) => {
  const { state } = machine(t)
  for (const [name, mode] of [
    ['.', 0o755],
    ['identity', 0o750],
    ['spool.db', 0o644],
  ] as const)
    fs.chmodSync(path.join(state, name), mode)
  for (const name of ['compiled.bin', 'sqlite-0123456789abcdef.node', 'compiled.bin.new'])
    fs.writeFileSync(path.join(state, name), 'code')
  fs.mkdirSync(path.join(state, 'lost+found'), { mode: 0o777 })
  fs.chmodSync(path.join(state, 'lost+found'), 0o777)
  prepareState(state, systemDisk)
  assert.deepEqual([modeOf(state), modeOf(`${state}/identity`), modeOf(`${state}/spool.db`)], ['700', '700', '600'])
  assert.deepEqual(fs.readdirSync(state).sort(), ['identity', 'lost+found', 'spool.db'])
  prepareState(path.join(state, 'new/one'), systemDisk)
  assert.equal(modeOf(path.join(state, 'new/one')), '700')
})

for (const { what, does, says } of [
  {
    what: 'a folder that everybody may write to',
    does: (s: string) => {
      fs.chmodSync(s, 0o777)
    },
    says: /others may write in it \(mode 0777\)/,
  },
  {
    what: 'a sticky one',
    does: (s: string) => {
      fs.chmodSync(s, 0o1777)
    },
    says: /others may write in it \(mode 1777\)/,
  },
  {
    what: 'a folder that a group may write to',
    does: (s: string) => {
      fs.chmodSync(s, 0o770)
    },
    says: /others may write in it \(mode 0770\)/,
  },
  {
    what: 'a file that everybody may write to',
    does: (s: string) => {
      fs.chmodSync(`${s}/spool.db`, 0o666)
    },
    says: /others may write to spool\.db \(mode 0666\)/,
  },
  {
    what: 'a file in a folder below',
    does: (s: string) => {
      fs.chmodSync(`${s}/identity/identity.json`, 0o606)
    },
    says: /others may write to identity\/identity\.json/,
  },
  {
    what: 'a link in place of a file',
    does: (s: string) => {
      fs.renameSync(`${s}/spool.db`, `${s}/../spool.db`)
      fs.symlinkSync('../spool.db', `${s}/spool.db`)
    },
    says: /spool\.db in it is a symbolic link/,
  },
  {
    what: 'a link in place of a folder',
    does: (s: string) => {
      fs.renameSync(`${s}/identity`, `${s}/../identity`)
      fs.symlinkSync('../identity', `${s}/identity`)
    },
    says: /identity in it is a symbolic link/,
  },
  {
    what: 'a link in a folder below',
    does: (s: string) => {
      fs.symlinkSync('/etc/passwd', `${s}/identity/time-floor.json`)
    },
    says: /identity\/time-floor\.json in it is a symbolic link/,
  },
  {
    what: 'a link that leads nowhere',
    does: (s: string) => {
      fs.symlinkSync('/nowhere', `${s}/.writable.new`)
    },
    says: /\.writable\.new in it is a symbolic link/,
  },
  {
    what: 'a pipe',
    does: (s: string) => {
      spawnSync('mkfifo', [`${s}/control-names.json`])
    },
    says: /control-names\.json in it is neither file nor folder/,
  },
  {
    what: 'a folder that everybody may rename',
    does: (s: string) => {
      fs.chmodSync(path.dirname(s), 0o777)
    },
    says: /everybody may rename what lies in .* \(mode 0777\)/,
  },
]) {
  test(`${what} is refused, and nothing is changed`, (t) => {
    const { state } = machine(t)
    does(state)
    const before = fs.readdirSync(state)
    assert.throws(
      () => {
        prepareState(state, systemDisk)
      },
      (err) =>
        err instanceof MeshError &&
        err.code === 'MESH_STATE_UNUSABLE' &&
        says.test(err.message) &&
        /mode 0700, files 0600, no links/.test(err.row.remedy),
    )
    assert.deepEqual(fs.readdirSync(state), before)
  })
}

test("a user that is not root: its own folder is taken, what is root's or a third one's is refused", asRoot, (t) => {
  const { state } = machine(t)
  owned(state, OTHER)
  assert.equal(asOther(state), '')
  fs.chownSync(`${state}/spool.db`, 0, 0)
  assert.match(
    asOther(state),
    /^MESH_STATE_UNUSABLE: .*spool\.db in it belongs to user 0, and the folder to user 65534/,
  )
  owned(state, OTHER)
  fs.chownSync(`${state}/identity/identity.json`, 1, 1)
  assert.match(asOther(state), /identity\/identity\.json in it belongs to user 1, and the folder to user 65534/)
  owned(state, 0)
  assert.match(asOther(state), /it belongs to user 0, and meshlet runs as user 65534/)
})
test('root does not take the folder of somebody else, but for commands beside a service', asRoot, (t) => {
  const { state } = machine(t)
  owned(state, OTHER)
  assert.throws(
    () => {
      prepareState(state, systemDisk)
    },
    { code: 'MESH_STATE_UNUSABLE', message: /it belongs to user 65534, and meshlet runs as user 0/ },
  )
  secureFolder(state, 'owner or root')
  fs.symlinkSync('/etc/passwd', `${state}/registry.db`)
  assert.throws(
    () => {
      secureFolder(state, 'owner or root')
    },
    { code: 'MESH_STATE_UNUSABLE', message: /registry\.db in it is a symbolic link/ },
  )
})
test("a link of root to the folder is systemd's (DynamicUser=); one of a third user is refused", asRoot, (t) => {
  const { folder, state } = machine(t)
  owned(state, OTHER)
  const link = path.join(folder, 'link')
  fs.symlinkSync('state', link)
  assert.equal(asOther(link), '')
  fs.lchownSync(link, 1, 1)
  assert.match(asOther(link), /it is a symbolic link of user 1/)
})

test('what is written never goes through a link, nor into a file that lies there: not even when it comes after the folder was looked at', async (t) => {
  const { folder, state } = machine(t)
  const ofRoot = path.join(folder, 'shadow')
  fs.writeFileSync(ofRoot, 'secret')
  const parts = async function* () {
    yield Buffer.from('new')
  }
  for (const write of [
    async (file: string) => {
      systemDisk.replace(file, 'new', 0o600)
    },
    (file: string) => replaceAtomically(file, parts(), 0o600),
  ]) {
    for (const link of [
      (at: string) => {
        fs.symlinkSync(ofRoot, at)
      },
      (at: string) => {
        fs.linkSync(ofRoot, at)
      },
    ]) {
      for (const suffix of ['.new', '']) {
        const file = path.join(state, 'file')
        fs.rmSync(file, { force: true })
        link(file + suffix)
        await write(file)
        assert.equal(fs.readFileSync(ofRoot, 'utf8'), 'secret')
        assert.equal(fs.readFileSync(file, 'utf8'), 'new')
        assert.ok(fs.lstatSync(file).isFile())
      }
    }
  }
})
