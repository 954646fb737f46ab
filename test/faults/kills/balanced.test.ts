import { testKills } from './profile-kills.ts'

testKills({ profile: 'balanced', kills: 50 })
