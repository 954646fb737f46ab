/** `meshlet mqtt …` on the command line. */
import { type Command, Option } from 'commander'
import type { Finish } from '../../../core/cli/run.ts'
import type { Io } from '../io.ts'
import {
  addConnectOptions,
  addMessageOptions,
  addOutputOptions,
  addPublishOptions,
  addSubscribeOptions,
  EXIT_HELP,
  FORMAT_HELP,
} from './options.ts'
import { HASH_KINDS } from '../../../protocols/mqtt/users/password-hash.ts'
import type { PasswdOptions } from './passwd.ts'
import { addOperations } from './operation-commands.ts'
import type { ImportOptions } from '../mosquitto/import.ts'
import type { PublishOptions } from './publish.ts'
import type { RequestOptions } from './request.ts'
import { addSetAsideCommands } from './set-aside.ts'
import type { SubscribeOptions } from './subscribe.ts'

const PASSWD_HELP = `
On a terminal the password is asked for; else it is the first line of standard input:
  printf '%s\\n' "$PASSWORD" | meshlet mqtt passwd /var/lib/meshlet/mqtt-passwords pump-7
A running agent takes the change within two seconds. mosquitto 2.0 reads sha512-pbkdf2, 2.1 argon2id, too.
scram-sha-256 is for clients that prove the password without sending it (MQTT 5).`

export function addMqttCommands(program: Command, io: Io, done: Finish): void {
  const mqtt = program
    .command('mqtt')
    .description('publish and subscribe by hand; look after clients, sessions and messages of the running agent')
  addImport(mqtt, io, done)
  addPublishOptions(
    addMessageOptions(
      addConnectOptions(mqtt.command('pub').description('publish, with the options of mosquitto_pub'), 'mqttv311'),
    ),
  )
    .addHelpText('after', EXIT_HELP)
    .action(async (o: PublishOptions) => done((await import('./publish.ts')).publish(o, io)))
  addSubscribeOptions(
    addOutputOptions(
      addConnectOptions(
        mqtt.command('sub').description('print what arrives, with the options of mosquitto_sub'),
        'mqttv311',
      ),
    ),
  )
    .addHelpText('after', `${FORMAT_HELP}\n${EXIT_HELP}`)
    .action(async (o: SubscribeOptions) => done((await import('./subscribe.ts')).subscribe(o, io)))
  addOutputOptions(
    addMessageOptions(
      addConnectOptions(
        mqtt.command('rr').description('send a request and print its response, with the options of mosquitto_rr'),
        'mqttv5',
      ),
    ),
  )
    .option('-t, --topic <topic>', 'topic of the request')
    .requiredOption('-e, --response-topic <topic>', 'where the response comes')
    .addHelpText('after', `${FORMAT_HELP}\n${EXIT_HELP}`)
    .action(async (o: RequestOptions) => done((await import('./request.ts')).request(o, io)))
  mqtt
    .command('passwd')
    .description('add, change or delete a user of a password file, with the options of mosquitto_passwd')
    .argument('<file>', 'password file, as mqtt.users.passwordFile names it')
    .argument('[user]', 'name of the user; without -U it is needed')
    .option('-c, --create', 'make a new file')
    .option('-D, --delete', 'delete the user')
    .option('-U, --update', 'hash the passwords of a file that has them in plain text')
    .option('-b, --batch', 'refused: a password is no argument')
    .addOption(
      new Option('-H, --hash <kind>', 'how the password is hashed').choices([...HASH_KINDS]).default('argon2id'),
    )
    .addHelpText('after', PASSWD_HELP)
    .action(async (file: string, user: string | undefined, o: PasswdOptions) =>
      done((await import('./passwd.ts')).changePasswordFile({ file, user }, o, io)),
    )
  addSetAsideCommands(mqtt, io, done)
  addOperations(mqtt, io, done)
}

function addImport(mqtt: Command, io: Io, done: Finish): void {
  mqtt
    .command('import')
    .description('write the agent.yaml that does what a mosquitto.conf says, and list what it cannot')
    .argument('<mosquitto.conf>')
    .option('-o, --output <file>', 'agent.yaml; clusters and passwords of bridges are written beside it')
    .option('--force', 'write over files that are there', false)
    .addHelpText('after', '\nExit codes: 0 everything was taken, 1 something was left out (listed), 2 wrong usage.')
    .action(async (file: string, o: ImportOptions) =>
      done((await import('../mosquitto/import.ts')).runImport(file, o, io)),
    )
}
