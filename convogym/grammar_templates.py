"""The sentences of the persona grammar: what facts, answers, questions and small talk look like. Tables only, no logic.

Alternatives are separated by " | "
"". `{animal}` is a slot filled from the word list of that name (a digit tells two slots of one
list apart), `{a animal}` the same with its article, `{s animal}` its plural.
"""

from __future__ import annotations

from typing import NamedTuple


class Form(NamedTuple):
    """One way to be: the facts that say it and the answers that reveal it, all with the same slots."""

    kind: str
    """family of the fact; two facts of one kind never meet in one persona"""
    world: str
    """what must hold of the speaker: "attribute:value|value attribute:low-high", "" = nothing"""
    facts: str
    """alternatives of the fact's own wording, without full stop"""
    answers: str
    """alternatives of a reply, without full stop; each holds every key"""
    sign: str = "+"
    """"+" answers a yes/no question of the topic with yes, "-" with no, "0" with neither"""
    keys: str = ""
    """the words that carry the value; "" = all slots"""


# One form in two or three lines reads as a table; one argument a line would not.
# fmt: off

KIDS = (
    Form("kids.has", "kids:has age:27-85", "i have {n} kids | i am a parent of {n} kids | i have {n} kids at home",
         "{n} kids, and never a quiet minute | we have {n} kids | there are {n} kids in our house", keys="{n} kids"),
    Form("kids.has", "kids:has age:27-90", "i have {n} daughters | i am raising {n} daughters",
         "{n} daughters, all loud | i've got {n} daughters at home", keys="{n} daughters"),
    Form("kids.has", "kids:has age:27-90", "i have {n} sons | i am raising {n} sons",
         "{n} sons, so the fridge is always empty | i've got {n} sons running around", keys="{n} sons"),
    Form("kids.has", "kids:has age:22-90", "i have {a child} | i have one child, my {child} | my {child} is my whole world",
         "there's my {child} | just my {child}, the light of my life | one, my {child}"),
    Form("kids.has", "kids:has age:23-70", "i have twins named {girl} and {boy} | my twins are called {girl} and {boy}",
         "twins, {girl} and {boy} | {girl} and {boy}, they're twins | the twins {girl} and {boy} keep me running",
         keys="twins {girl} {boy}"),
    Form("kids.has", "kids:has age:23-50", "i have a baby called {girl} | my baby {girl} was born last spring",
         "a baby, little {girl} | yep, baby {girl}, she never sleeps", keys="baby {girl}"),
    Form("kids.has", "kids:has age:23-50", "i have a baby boy named {boy} | my baby boy {boy} has no teeth yet",
         "a baby boy called {boy} | little {boy}, our baby boy", keys="baby boy {boy}"),
    Form("kids.age", "kids:has age:34-58",
         "my {child} is {kidage} years old | my {child} just turned {kidage}",
         "my {child} is {kidage} already | one, my {child}, who is {kidage}"),
    Form("kids.school", "kids:has age:42-60", "my {child} is in {school} | my {child} started {school} this year",
         "my {child} goes to {school} now | there's my {child}, who is in {school}"),
    Form("kids.sport", "kids:has age:28-60", "my {child} loves {childsport} | my {child} takes {childsport} lessons",
         "my {child} is crazy about {childsport} | i drive my {child} to {childsport} every week"),
    Form("kids.grown", "kids:has age:46-90", "my {n} children are all grown up | i have {n} grown children",
         "{n} children, all grown now | i raised {n} children and they are grown", keys="{n} children grown"),
    Form("kids.grown", "kids:has age:45-90", "my {child} lives in {city} now | my {child} moved to {city} for work",
         "my {child} is grown and lives in {city} | one, my {child}, far away in {city}"),
    Form("kids.grand", "kids:has age:50-90", "i have {gradkids} grandchildren | "
         "i am the proud owner of {gradkids} grandchildren",
         "{gradkids} grandchildren, would you believe it | we've got {gradkids} grandchildren to spoil",
         keys="{gradkids} grandchildren"),
    Form("kids.grand", "kids:has age:46-90", "my granddaughter {girl} visits every {weekday}",
         "my granddaughter {girl} comes over on {weekday} | every {weekday} i see my granddaughter {girl}",
         keys="granddaughter {girl} {weekday}"),
    Form("kids.grand", "kids:has age:46-90", "my grandson {boy} calls me every {weekday}",
         "my grandson {boy} rings me each {weekday} | my grandson {boy} and i talk every {weekday}",
         keys="grandson {boy} {weekday}"),
    Form("kids.none", "kids:none", "i have no children | i have no children yet | i have no children of my own",
         "no children here | there are no children in my life", "-", "no children"),
    Form("kids.none", "kids:none", "i do not have any kids | i don't have any kids so far",
         "we don't have any kids | i don't have any kids, it's quiet here", "-", "any kids"),
    Form("kids.none", "kids:none", "i am childless | i am childless and happy about it",
         "childless, and that suits me | i'm childless at the moment", "-", "childless"),
    Form("kids.never", "kids:none", "i never want to have children | i decided early that i never want children",
         "i never want children, honestly | children? i never want that", "-", "never want children"),
    Form("kids.want", "kids:none age:18-42", "i want {n} kids someday | i hope to have {n} kids someday",
         "someday i'd like {n} kids | not now, but {n} kids someday", "-", "{n} kids someday"),
    Form("kids.want", "kids:none age:22-45", "i hope to adopt a child one day | i want to adopt a child someday",
         "i'd love to adopt a child | my plan is to adopt a child", "-", "adopt child"),
    Form("kids.expecting", "kids:expecting age:22-44 gender:f",
         "i am pregnant with my first baby | i am pregnant and due in {month}",
         "i'm pregnant right now, due in {month} | due in {month}, i'm very pregnant | none yet, but i'm pregnant", "0",
         "pregnant"),
    Form("kids.expecting", "kids:expecting age:22-44", "our first baby is due in {month} | "
         "we expect our first baby in {month}",
         "our first baby comes in {month} | soon, our first baby arrives in {month}", "0", "first baby {month}"),
    Form("kids.parent", "kids:has age:24-65 gender:f", "i am a single mom of {n} | i am a single mother of {n} kids",
         "i raise {n} kids as a single parent | a single parent of {n}, that's me", "+", "single {n}"),
    Form("kids.step", "kids:has age:27-75", "i have {n} stepchildren | i am a stepparent to {n} stepchildren",
         "{n} stepchildren, and i love them | we have {n} stepchildren in the house", "+", "{n} stepchildren"),
    Form("kids.foster", "kids:has age:28-70", "i am raising {n} foster children | i take care of {n} foster children",
         "{n} foster children live with me | i've got {n} foster children", "+", "{n} foster children"),
    Form("kids.relative", "", "i have {many} {relative} | i am very close to my {many} {relative}",
         "i have {many} {relative} i spoil a lot | {many} {relative}, they're enough for me", "0"),
    Form("kids.relative", "", "my niece {girl} stays with me every {season} | my niece {girl} spends each {season} here",
         "my niece {girl} visits every {season} | every {season} my niece {girl} comes to stay", "0", "niece {girl} {season}"),
    Form("kids.sit", "", "i babysit my neighbor's {n} kids | i babysit for the {n} kids next door",
         "i babysit {n} kids from next door | there are {n} kids i babysit", "0", "babysit {n} kids"),
    Form("kids.coach", "age:20-70", "i coach a kids {sport} team | i coach {sport} for kids on {weekday}",
         "i coach kids in {sport} | there are the kids i coach at {sport}", "0", "coach kids {sport}"),
)

PETS = (
    Form("pets.has", "pets:has", "i have {a animal} named {pet} | i own {a animal} named {pet} | my {animal} is called {pet}",
         "{pet}, my {animal} | {a animal}, and the name is {pet} | i live with {pet} the {animal} | there's {pet}, "
         "{a animal}"),
    Form("pets.has", "pets:has", "i have {n} {s animal} | i am the owner of {n} {s animal} | {n} {s animal} live with me",
         "{n} {s animal} share my home | {n} {s animal}, it's a zoo here | i've got {n} {s animal}", keys="{n} {s animal}"),
    Form("pets.has", "pets:has", "i have two {s animal} named {pet} and {pet2} | my two {s animal} are {pet} and {pet2}",
         "two {s animal}, {pet} and {pet2} | {pet} and {pet2}, my two {s animal}", keys="two {s animal} {pet} {pet2}"),
    Form("pets.adopted", "pets:has", "i adopted {a animal} from the shelter | "
         "i adopted {a animal} from a shelter last {season}",
         "{a animal} i adopted from a shelter | i adopted {a animal}, the best thing the shelter had",
         keys="adopted {animal} shelter"),
    Form("pets.adopted", "pets:has", "i found my {animal} {pet} on the street | my {animal} {pet} was a stray from the street",
         "{pet} the {animal}, i found that one on the street | i picked {pet}, my {animal}, up from the street",
         keys="{animal} {pet} street"),
    Form("pets.loves", "pets:has", "my {animal} sleeps in my bed | my {animal} sleeps in my bed every night",
         "my {animal} takes up half the bed | {a animal}, and it has my bed", keys="{animal} bed"),
    Form("pets.loves", "pets:has", "my {animal} is afraid of {month} fireworks and thunder | my {animal} is afraid of thunder",
         "my {animal} hides from thunder | {a animal} that fears thunder", keys="{animal} thunder"),
    Form("pets.loves", "pets:has", "my {animal} eats {food} | my {animal} steals my {food}",
         "my {animal} only wants {food} | {a animal} with a taste for {food}"),
    Form("pets.farm", "pets:has", "i keep {many} chickens and a goat named {pet} | "
         "i keep {many} chickens and a goat called {pet}",
         "{many} chickens, and {pet} the goat | a goat, {pet}, and {many} chickens", keys="{many} chickens goat {pet}"),
    Form("pets.farm", "pets:has", "i have a horse named {pet} | my horse {pet} lives in a stable nearby",
         "a horse called {pet} | i ride my horse {pet} a lot", keys="horse {pet}"),
    Form("pets.fish", "pets:has", "i have a fish tank with {many} fish | there are {many} fish in my tank",
         "{many} fish in a tank | a tank with {many} fish, nothing cuddly", keys="{many} fish tank"),
    Form("pets.none", "pets:none", "i have no pets | i have no pets at home | i have no pets right now",
         "no pets here | there are no pets in my place", "-", "no pets"),
    Form("pets.none", "pets:none", "i do not own any animals | i don't keep any animals",
         "i don't have any animals | there aren't any animals around here", "-", "any animals"),
    Form("pets.none", "pets:none", "my landlord does not allow pets | my landlord forbids pets",
         "my landlord says no pets | pets aren't allowed, says my landlord", "-", "landlord pets"),
    Form("pets.allergic", "pets:none", "i am allergic to {s animal} | i am very allergic to {s animal}",
         "{s animal} make me sneeze, i'm allergic | sadly i'm allergic to {s animal}", "-", "allergic {s animal}"),
    Form("pets.allergic", "pets:none", "i am allergic to animal fur | animal fur makes me sneeze and i am allergic",
         "fur makes me sneeze, i'm allergic | allergic to fur, sadly", "-", "allergic fur"),
    Form("pets.want", "pets:none", "i would love to have {a animal} | i want to get {a animal} someday",
         "not yet, but i'd love {a animal} | i dream of getting {a animal}", "0", "{animal}"),
    Form("pets.want", "pets:none", "i am saving up for {a animal} | i plan to buy {a animal} next {season}",
         "none so far, i'm planning on {a animal} | soon i'll get {a animal}", "0", "{animal}"),
    Form("pets.fear", "pets:none", "i am afraid of {s animal} | i have been scared and afraid of {s animal} since childhood",
         "{s animal} scare me, i'm really afraid | i'm afraid of {s animal}, silly as it is", "-", "afraid {s animal}"),
    Form("pets.past", "", "i had {a animal} called {pet} as a child | i grew up with {a animal} called {pet}",
         "i had {a animal} when i was little, {pet} | years ago there was {pet}, my {animal}", "0", "{animal} {pet}"),
    Form("pets.past", "pets:none", "my {animal} {pet} died last {season} | my {animal} {pet} passed away in {season}",
         "my {animal} {pet} is gone since last {season} | i lost {pet}, my {animal}, last {season}", "0", "{animal} {pet}"),
    Form("pets.volunteer", "", "i volunteer at an animal shelter | i volunteer at an animal shelter on {weekday}",
         "i help out at the animal shelter as a volunteer | i volunteer with the animal shelter in town", "0",
         "volunteer animal shelter"),
    Form("pets.volunteer", "", "i walk my neighbor's {animal} | i feed my neighbor's {animal} when they travel",
         "only my neighbor's {animal}, now and then | my neighbor's {animal} visits me", "0", "neighbor {animal}"),
    Form("pets.breed", "pets:has", "i breed {s animal} | i breed {s animal} as a side business",
         "i breed {s animal}, so there are plenty | {s animal}, i breed them", keys="breed {s animal}"),
    Form("pets.show", "pets:has", "my {animal} {pet} won a ribbon | my {animal} {pet} once won a ribbon at the county fair",
         "{pet}, my {animal}, has a ribbon to show | my {animal} {pet} is a star with a ribbon", keys="{animal} {pet} ribbon"),
    Form("pets.prefer", "", "i like cats more than dogs | i am more of a cats person than a dogs person",
         "i like cats better than dogs | cats over dogs, always", "0", "cats dogs"),
)

WORK = (
    Form("work.job", "job:employed", "i am {a job} | i work as {a job} | i make my living as {a job} | i am {a job} by trade",
         "i'm {a job} | {a job}, that's what i do | i earn my bread as {a job} | my job is being {a job}"),
    Form("work.job", "job:employed age:34-67", "i have been {a job} for {years} years | "
         "i have worked as {a job} for {years} years",
         "{a job}, {years} years now | i'm {a job} and have been for {years} years"),
    Form("work.job", "job:employed age:18-28", "i am training to be {a job} | i just started training as {a job}",
         "i'm still training as {a job} | in training, to be {a job}", "+", "training {job}"),
    Form("work.place", "site:out job:employed", "i work at {a workplace} | i work in {a workplace} downtown | "
         "i have a job at {a workplace}",
         "i'm at {a workplace} all week | {a workplace} pays my bills | you can find me at {a workplace}"),
    Form("work.place", "site:out job:employed age:25-67", "i manage {a workplace} | i help manage {a workplace}",
         "i manage {a workplace} | running {a workplace}, i manage it with a small team", "+", "manage {workplace}"),
    Form("work.own", "boss:self job:employed age:24-75", "i own {a business} | i have my own {business} | "
         "i run my own {business}",
         "i've got my own {business} | {a business}, all my own | my own {business} keeps me busy", "+", "own {business}"),
    Form("work.own", "boss:self job:employed age:22-75", "i run {a business} with my brother {boy} | "
         "my brother {boy} and i run {a business}",
         "{a business}, together with my brother {boy} | my brother {boy} and me, we have {a business}", "+",
         "{business} brother {boy}"),
    Form("work.own", "boss:self job:employed age:22-75", "i run {a business} with my sister {girl} | "
         "my sister {girl} and i run {a business}",
         "{a business}, together with my sister {girl} | my sister {girl} and me, we have {a business}", "+",
         "{business} sister {girl}"),
    Form("work.hours", "job:employed", "i work night shifts | i work night shifts and sleep until noon",
         "mostly night shifts | night shifts, so i sleep all day", "+", "night shifts"),
    Form("work.hours", "job:employed", "i start work at {many} in the morning | my shift starts at {many} in the morning",
         "i start at {many} in the morning, for my shift | a job that has me up by {many} every morning", "+",
         "{many} morning"),
    Form("work.hours", "job:employed", "i only work on {weekday} and {weekday2} | i have shifts on {weekday} and {weekday2}",
         "part time, {weekday} and {weekday2} | just {weekday} and {weekday2}, it's part time"),
    Form("work.remote", "job:employed site:home", "i work from home in my pajamas | i work from home",
         "i do everything from home | from home, my desk is the kitchen table", "+", "from home"),
    Form("work.commute", "job:employed site:out", "i take the {commute} to work | i go to work by {commute}",
         "i get there by {commute} | it's a long {commute} ride every morning", "0", "{commute}"),
    Form("work.boss", "job:employed boss:other", "my boss {boy} is my best friend | my boss {boy} is a very nice man",
         "i work for {boy}, a great boss | my boss is {boy}, a funny guy", "0", "boss {boy}"),
    Form("work.boss", "job:employed boss:other", "my boss {girl} yells a lot | my boss {girl} is very strict",
         "i work for {girl}, a tough boss | my boss is {girl}, and she's strict", "0", "boss {girl}"),
    Form("work.feel", "job:employed", "i hate my job | i hate my job and want to quit",
         "i've got a job that i hate | my job? i hate it", "0", "hate job"),
    Form("work.feel", "job:employed", "i love my job | i really love my job",
         "i have a job i love | i love it, best job in town", "+", "love job"),
    Form("work.fired", "job:unemployed age:20-64", "i was laid off from {a workplace} | "
         "i got laid off at {a workplace} last {season}",
         "i was with {a workplace} until they laid me off | {a workplace} laid me off", "-", "laid off {workplace}"),
    Form("work.fired", "job:unemployed age:19-64", "i am between jobs | i am between jobs right now",
         "i'm between jobs, as they say | between jobs at the moment", "-", "between jobs"),
    Form("work.fired", "job:unemployed age:18-64", "i am looking for a job as {a job} | i hope to find a job as {a job}",
         "nothing now, i'm looking to be {a job} | i'm still looking for a spot as {a job}", "-", "{job}"),
    Form("work.fired", "job:unemployed age:19-64", "i am unemployed | i have been unemployed since {month}",
         "unemployed right now | i'm unemployed, sadly", "-", "unemployed"),
    Form("work.student", "job:student age:18-32", "i am a student of {study} | i study {study} | "
         "i am studying {study} in {city}",
         "i'm still a student, {study} | {study}, i'm at the university | i'm in college for {study}", "0", "{study}"),
    Form("work.student", "job:student age:18-30", "i am in college and tutor {study} | i tutor {study} to pay for college",
         "i'm in college, and i tutor {study} | college, and to pay for it i tutor {study}", "0", "college tutor {study}"),
    Form("work.retired", "job:retired age:58-90", "i am a retired {job} | i am retired and was {a job} before",
         "retired now, i was {a job} | i'm a retired {job}", "-", "retired {job}"),
    Form("work.retired", "job:retired age:60-90", "i am retired | i have been retired for {years} years",
         "i'm retired, thank goodness | retired, every day is sunday", "-", "retired"),
    Form("work.home", "job:homemaker kids:has age:23-60", "i am a stay at home mom | i am a stay at home dad | "
         "i am a stay at home parent",
         "i stay at home with the little ones | my place is at home, i stay with the family", "-", "stay home"),
    Form("work.dream", "", "i dream of being {a job} | my dream is to become {a job}",
         "well, my dream is to be {a job} | i dream of a life as {a job}", "0", "dream {job}"),
    Form("work.past", "age:24-90", "i used to be {a job} | i used to work as {a job} before i moved",
         "i used to be {a job} long ago | in the past i used to work as {a job}", "0", "used {job}"),
    Form("work.family", "", "my father was {a job} and my mother {a job2} | my father is {a job} and my mother {a job2}",
         "my father was {a job}, and my mother {a job2} | in my family, mother is {a job2} and father {a job}", "0",
         "father {job} mother {job2}"),
    Form("work.army", "age:32-90", "i served {years} years in the navy | i was in the navy for {years} years",
         "{years} years in the navy, that's my story | the navy had me for {years} years", "0", "{years} navy"),
    Form("work.travel", "job:employed", "my job sends me to {city} every {season} | "
         "my company sends me to {city} each {season}",
         "a job that takes me to {city} every {season} | every {season} they send me to {city}", "+", "{city} {season}"),
)

MARITAL = (
    Form("marital.married", "love:married age:22-90",
         "i am married to my {spouse} | my {spouse} and i have a happy home | i live with my {spouse}",
         "there's my {spouse} | i share my life with my {spouse} | happily, with my {spouse}"),
    Form("marital.married", "love:married age:34-90", "i have been married for {years} years | "
         "i have been married {years} years now",
         "married for {years} years | we've been married {years} years, time flies", keys="married {years}"),
    Form("marital.married", "love:married age:22-90", "my {spousal} is {a job} | i am married to {a job}, my {spousal}",
         "my {spousal} is {a job} | i've got a {spousal} who works as {a job}"),
    Form("marital.married", "love:married age:22-90", "i met my {spousal} at {met} | my {spousal} and i met at {met}",
         "i have a {spousal}, we met at {met} | it was at {met} that i met my {spousal}", keys="{spousal} {met}"),
    Form("marital.wedding", "love:married age:21-90", "we got married in {city} in {month} | "
         "i got married in {city} one {month}",
         "we had our wedding in {city}, in {month} | it was {month}, in {city}, a small wedding"),
    Form("marital.married", "love:married age:50-90", "i have been married {decades} years to my {spouse}",
         "{decades} years with my {spouse} | my {spouse} and me, {decades} years already"),
    Form("marital.married", "love:married age:20-60", "i am a newlywed | i am a newlywed, we said yes in {month}",
         "a newlywed, still smiling | i'm a newlywed, can you believe it", keys="newlywed"),
    Form("marital.engaged", "love:engaged age:20-75", "i am engaged to my {fiance} | my {fiance} and i are engaged",
         "engaged, to my {fiance} | my {fiance} and i got engaged", "0", keys="engaged {fiance}"),
    Form("marital.engaged", "love:engaged age:20-75", "my wedding is next {month} | "
         "i will get married next {month} at my wedding",
         "the wedding is next {month} | not until {month}, that's when the wedding is", "0", "wedding {month}"),
    Form("marital.dating", "love:dating age:18-70",
         "i live with my {lover} | my {lover} and i moved in together | i am dating my {lover} since {month}",
         "i'm with my {lover} | there's my {lover}, no ring though | my {lover} makes me laugh", "0", "{lover}"),
    Form("marital.dating", "love:dating age:18-75", "i am dating {a job} | i have been dating {a job} for a while",
         "i'm dating {a job}, it's going well | dating right now, {a job}", "0", "dating {job}"),
    Form("marital.dating", "love:dating age:18-60", "my {loving} lives in {city} | i have {a loving} far away in {city}",
         "i've got {a loving} in {city} | a long distance {loving}, over in {city}", "0", "{loving} {city}"),
    Form("marital.dating", "love:dating age:18-60", "i met my {loving} at {met} | my {loving} and i met at {met}",
         "i have {a loving}, from {met} | we met at {met}, my {loving} and i", "0", "{loving} {met}"),
    Form("marital.single", "love:single", "i am single | i am single and happy | i am single at the moment",
         "single, and it's fine | i'm single these days | still single", "-", "single"),
    Form("marital.single", "love:single|dating age:24-90", "i have never been married | i was never married",
         "never married, not even close | i was never married", "-", "never married"),
    Form("marital.single", "love:single age:18-60", "i broke up with my {loving} in {month} | "
         "my {loving} and i broke up last {month}",
         "my {loving} and i broke up in {month} | nobody since {month}, when i broke up with my {loving}", "-",
         "{loving} broke {month}"),
    Form("marital.single", "love:single", "i am a bachelor and cook for one | i am a bachelor",
         "a bachelor, through and through | just a bachelor here", "-", "bachelor"),
    Form("marital.look", "love:single", "i am looking for love online | i am looking for love at {met}",
         "still looking for love | nobody yet, i'm looking for love", "-", "looking love"),
    Form("marital.look", "love:single", "i have a crush on {a job} | i have a secret crush on {a job}",
         "not taken, only a crush on {a job} | i've a crush on {a job}, don't tell", "-", "crush {job}"),
    Form("marital.divorced", "love:divorced age:26-90", "i am divorced | i got divorced in {month} and stayed divorced",
         "divorced, life goes on | i'm divorced", "-", "divorced"),
    Form("marital.divorced", "love:divorced age:38-90", "i got divorced {years} years ago | "
         "i have been divorced for {years} years",
         "divorced, {years} years already | it's {years} years since i got divorced", "-", "divorced {years}"),
    Form("marital.divorced", "love:divorced age:35-90", "i have been divorced twice | i am divorced twice over",
         "divorced twice, i learn slowly | i was married and divorced twice", "-", "divorced twice"),
    Form("marital.separated", "love:separated age:25-80", "my {spousal} and i are separated | "
         "i am separated from my {spousal}",
         "separated, my {spousal} moved out | my {spousal} and i separated this year", "-", "{spousal} separated"),
    Form("marital.widowed", "love:widowed age:40-90 gender:f", "i am a widow | i am a widow, he died {years} years ago",
         "a widow, i'm afraid | i'm a widow and i miss him", "-", "widow"),
    Form("marital.widowed", "love:widowed age:40-90 gender:m", "i am a widower | i am a widower since {month}",
         "a widower, i'm afraid | i'm a widower and i miss her", "-", "widower"),
    Form("marital.widowed", "love:widowed age:42-90", "i lost my {spouse} some years ago | my {spouse} died long ago",
         "my {spouse} passed away | i was married, to my late {spouse}", "-"),
    Form("marital.never", "love:single|dating|divorced|widowed",
         "i do not believe in marriage | i don't see the point of marriage",
         "marriage is not for me, i don't see the sense | i never saw the point, marriage is only paper", "-", "marriage"),
    Form("marital.parents", "", "my parents have been together {decades} years | my parents just had {decades} years together",
         "my parents have {decades} years together, that's the standard | {decades} years, that's my parents, not me", "0",
         "parents {decades} years"),
)

TRAVEL = (
    Form("travel.visited", "roam:yes", "i have been to {country} {many} times | i visited {country} {many} times",
         "{country}, {many} times already | i went to {country} {many} times"),
    Form("travel.visited", "roam:yes", "i spent {a season} in {country} | i once spent a whole {season} in {country}",
         "one {season} i was in {country} | {country}, for a full {season}"),
    Form("travel.visited", "roam:yes", "i have been to {countries} countries | i have seen {countries} countries",
         "{countries} countries so far | i've collected {countries} countries", keys="{countries} countries"),
    Form("travel.trip", "roam:yes", "i just came back from {country} | i came back from {country} last {month}",
         "i'm just back from {country} | {country}, i came back not long ago", keys="back {country}"),
    Form("travel.trip", "roam:yes", "i am going to {country} in {month} | i booked a trip to {country} for {month}",
         "{country}, in {month}, i'm counting the days | in {month} i fly to {country}"),
    Form("travel.lived", "roam:yes", "i lived in {city} for {years} years | i spent {years} years in {city}",
         "{years} years in {city}, that was my big adventure | i was in {city} for {years} years"),
    Form("travel.lived", "roam:yes", "i was born in {country} | i grew up in {country}",
         "i come from {country}, so i go back now and then | {country} is where i started out", keys="{country}"),
    Form("travel.love", "roam:yes", "my favorite city is {city} | {city} is my favorite city in the world",
         "my favorite is {city} | {city}, always my favorite", keys="favorite {city}"),
    Form("travel.region", "roam:yes", "i crossed {region} by {transport} | i once crossed {region} by {transport}",
         "i went through {region} by {transport} | {region}, by {transport}, never again"),
    Form("travel.region", "roam:yes", "i went hiking in {region} | i go hiking in {region} every {season}",
         "hiking in {region}, it was magic | i've been hiking around {region}", keys="hiking {region}"),
    Form("travel.region", "roam:yes", "i take my vacation at {region} every {season} | every {season} i visit {region}",
         "each {season} i'm off to {region} | {region}, every {season}"),
    Form("travel.want", "", "i want to see {region} | my dream is to see {region}",
         "{region} is on my list, i want to see it | i'd like to see {region}", "0", "see {region}"),
    Form("travel.want", "", "i would love to visit {country} | it is my dream to visit {country}",
         "i'd love to visit {country} | one day i'll visit {country}", "0", "visit {country}"),
    Form("travel.never", "roam:no", "i have never left my country | i never left the country i was born in",
         "i've never left the country | never left, this country is all i know", "-", "never left country"),
    Form("travel.never", "roam:no", "i have never been on a plane | i was never on a plane",
         "never been on a plane | a plane? never", "-", "never plane"),
    Form("travel.never", "roam:no", "i don't own a passport | i don't even have a passport",
         "i don't have a passport | without a passport you don't get far, i don't have one", "-", "don't passport"),
    Form("travel.fear", "", "i am afraid of flying | i am afraid of flying and go by {transport}",
         "flying scares me, i'm afraid of it | i'm afraid of flying", "-", "afraid flying"),
    Form("travel.fear", "boats:no", "i get sick on boats | i always get sick on boats",
         "boats make me sick | nothing with boats, i get sick", "-", "boats sick"),
    Form("travel.home", "roam:no", "i like to stay home on my vacations | i spend my vacations at home",
         "my vacations happen at home | at home, that's where i spend vacations", "-", "home vacations"),
    Form("travel.mode", "roam:yes", "i travel everywhere by {transport} | i like to travel by {transport}",
         "i go by {transport} whenever i can | always by {transport}", "+", "by {transport}"),
    Form("travel.souvenir", "roam:yes", "i bring home {souvenir} from every trip | i buy {souvenir} on every trip",
         "i've {souvenir} from every trip | every trip ends with more {souvenir}", "+", "{souvenir} every trip"),
    Form("travel.camper", "roam:yes", "i drove to {country} in an old van | i drove a van all the way to {country}",
         "i took a van to {country} | {country}, in an old van", "+", "{country} van"),
    Form("travel.lost", "roam:yes", "i once got lost in {city} | i got lost in {city} without a map",
         "i was lost in {city} once | {city}, where i got hopelessly lost", "+", "lost {city}"),
    Form("travel.family", "roam:yes", "i have family in {country} | half of my family lives in {country}",
         "i go see my family in {country} | family takes me to {country}", "+", "family {country}"),
    Form("travel.flight", "roam:yes", "i missed my flight to {city} | i missed a flight to {city} once",
         "i missed the flight to {city} | {city}, if i hadn't missed the flight", "0", "missed flight {city}"),
)

AGE = (
    Form("age.age", "age:{age}", "i am {age} years old | i am {w age} years old | i am {w age} | i'm {age} | "
         "i turned {age} this year | i just turned {age}",
         "{age} | i'm {age} years old | {age} years young | {age}, and i feel it"),
    Form("age.age", "age:{age} birth:turned", "i had my birthday in {month} and turned {age} | i turned {age} in {month}",
         "i turned {age} in {month} | {age} since {month}"),
    Form("age.age", "age:{age} gender:f", "i am {a age} year old woman | i am a woman of {age}",
         "a woman, {age} | {age}, and a woman", keys="{age} woman"),
    Form("age.age", "age:{age} gender:m", "i am {a age} year old man | i am a man of {age}",
         "a man, {age} | {age}, and a man", keys="{age} man"),
    Form("age.age", "age:{age} gender:f", "i am {a age} year old female | i am female and {age}",
         "female, {age} | {age} and female", keys="{age} female"),
    Form("age.age", "age:{age} gender:m", "i am {a age} year old male | i am male and {age}",
         "male, {age} | {age} and male", keys="{age} male"),
    Form("age.age", "age:{age} gender:n", "i am {age} and nonbinary | i am nonbinary and {age} years old",
         "nonbinary, {age} | {age}, and nonbinary", keys="{age} nonbinary"),
    Form("age.decade", "age:20-29", "i am in my twenties | i am still in my twenties",
         "somewhere in my twenties | my twenties, enjoying them", "0", "twenties"),
    Form("age.decade", "age:30-39", "i am in my thirties | i am in my late thirties",
         "somewhere in my thirties | thirties, that's all i'll say", "0", "thirties"),
    Form("age.decade", "age:40-49", "i am in my forties | i am in my early forties",
         "somewhere in my forties | forties, that's all i'll say", "0", "forties"),
    Form("age.decade", "age:50-59", "i am in my fifties | i am in my late fifties",
         "somewhere in my fifties | fifties, and proud", "0", "fifties"),
    Form("age.decade", "age:60-69", "i am in my sixties | i am in my early sixties",
         "somewhere in my sixties | sixties, and proud", "0", "sixties"),
    Form("age.decade", "age:70-79", "i am in my seventies | i am in my late seventies",
         "well into my seventies | seventies, and proud", "0", "seventies"),
    Form("age.old", "age:60-90", "i am a senior citizen | i am a senior citizen with bad knees",
         "a senior citizen already | i'm a senior, a proud senior citizen", "0", "senior citizen"),
    Form("age.old", "age:18-21", "i am not old enough to rent a car | i am too young to rent a car",
         "young enough that nobody will rent me a car | they won't rent me a car yet", "0", "rent car"),
    Form("age.birthday", "birth:month", "my birthday is in {month} | my birthday falls in {month}",
         "my birthday is in {month}, that's all i'll say | {a month} birthday", "0", "birthday {month}"),
    Form("age.birthday", "birth:month", "i was born on {a weekday} in {month} | i was born in {month}, on {a weekday}",
         "born on {a weekday} in {month} | i was born one {month} {weekday}", "0", "born {weekday} {month}"),
    Form("age.birthday", "birth:month", "i was born in {season}, on {a weekday} | i was born on {a weekday} in {season}",
         "born one {weekday} in {season} | {a season} child, born on {a weekday}", "0", "born {season} {weekday}"),
    Form("age.sign", "birth:sign", "my star sign is {sign} | i am {a sign}, and i believe in my star sign",
         "a typical {sign}, that's my star sign | my sign is {sign}, star and all", "0", "star sign {sign}"),
    Form("age.gender", "gender:f", "i am a woman | i am a proud woman",
         "a woman, if you couldn't tell | i'm a woman, and i won't tell you the year", "0", "woman"),
    Form("age.gender", "gender:m", "i am a man | i am a man with a big beard",
         "a man, if you couldn't tell | i'm a man, and not a young one anymore", "0", "man"),
    Form("age.gender", "gender:f", "i am a girl from {city} | i am {a city} girl",
         "a girl from {city} | just a girl, from {city}", "0", "girl {city}"),
    Form("age.gender", "gender:m", "i am a guy from {city} | i am {a city} guy",
         "a guy from {city} | just a guy, from {city}", "0", "guy {city}"),
    Form("age.gender", "gender:n", "i am nonbinary | i identify as nonbinary",
         "nonbinary, thanks for asking | i'm nonbinary", "0", "nonbinary"),
    Form("age.gender", "gender:f", "i am a lady of a certain age | i am a lady and never tell my age",
         "a lady never tells | a lady, let's leave it there", "0", "lady"),
    Form("age.looks", "age:25-70", "people think i am younger than i am | people say i look much younger",
         "people always guess younger | younger than people think? no, people think i'm younger", "0", "people younger"),
    Form("age.looks", "age:{grayage}-90", "i went gray at {grayage} | my hair went gray when i was {grayage}",
         "i went gray at {grayage}, so people guess wrong | gray since {grayage}", "0", "gray {grayage}"),
    Form("age.oldest", "", "i am older than my {sibling} {boy} | i am a few years older than my {sibling} {boy}",
         "older than my {sibling} {boy}, at least | my {sibling} {boy} is younger, i'm the older one", "0",
         "older {sibling} {boy}"),
    Form("age.oldest", "", "i am younger than my sister {girl} | i am a few years younger than my sister {girl}",
         "younger than my sister {girl} | my sister {girl} is ahead of me, i'm younger", "0", "younger sister {girl}"),
    Form("age.twin", "gender:f", "i have a twin sister called {girl} | my twin sister is named {girl}",
         "same as my twin sister {girl}, of course | me and my twin sister {girl} share a birthday", "0",
         "twin sister {girl}"),
    Form("age.twin", "gender:m", "i have a twin brother called {boy} | my twin brother is named {boy}",
         "same as my twin brother {boy}, of course | me and my twin brother {boy} share a birthday", "0",
         "twin brother {boy}"),
)

HOBBIES = (
    Form("hobbies.likes", "", "i love {hobby} | i enjoy {hobby} | my favorite hobby is {hobby} | "
         "i like {hobby} in my spare time",
         "{hobby}, whenever i can | lots of {hobby} | i'm really into {hobby} | {hobby} keeps me happy"),
    Form("hobbies.likes", "", "i love {hobby} and {hobby2} | i like {hobby} and {hobby2} | "
         "my hobbies are {hobby} and {hobby2}",
         "{hobby}, and also {hobby2} | i split my time between {hobby} and {hobby2} | mostly {hobby}, sometimes {hobby2}"),
    Form("hobbies.likes", "age:32-90", "i have been into {hobby} for {years} years | i have done {hobby} for {years} years",
         "{hobby}, {years} years now | it's {years} years since i took up {hobby}"),
    Form("hobbies.weekly", "", "i go to {a hobby} club on {weekday} | every {weekday} i meet my {hobby} club",
         "{hobby} club, every {weekday} | on {weekday} i'm at my {hobby} club", keys="{hobby} club {weekday}"),
    Form("hobbies.collect", "", "i collect {collection} | i collect {collection} and show them to everyone",
         "i collect {collection} | {collection}, i collect them like mad | i've started to collect {collection}",
         keys="collect {collection}"),
    Form("hobbies.collect", "", "i own {many} hundred {collection} | my house holds {many} hundred {collection}",
         "i own about {many} hundred {collection} | {collection}, i have {many} hundred of them",
         keys="{many} hundred {collection}"),
    Form("hobbies.make", "", "i make {make} in my {room} | i build {make} in my {room}",
         "in my {room} i make {make} | {make}, made in my own {room}"),
    Form("hobbies.make", "", "i make {make} and sell them online | i sell homemade {make} online",
         "i sell my {make} online | {make}, i make and sell them", keys="sell {make}"),
    Form("hobbies.sport", "", "i play {sport} every {weekday} | i play {sport} with friends on {weekday}",
         "{sport}, every {weekday} | on {weekday} i play {sport}"),
    Form("hobbies.sport", "age:18-60", "i am the captain of {a sport} team | i captain our local {sport} team",
         "{sport}, i'm the captain of a team | i'm captain of the {sport} team", keys="captain {sport} team"),
    Form("hobbies.watch", "", "i never miss {a sport} game on tv | i watch every {sport} game on tv",
         "{sport} on tv, every game | watching {sport}, i see every game on tv", keys="{sport} game tv"),
    Form("hobbies.read", "", "i read {read} in bed | i mostly read {read}",
         "i read {read} whenever i can | {read}, i read them by the pile", keys="read {read}"),
    Form("hobbies.read", "", "i write {read} under a pen name | i write {read} at night",
         "i write {read} | {read}, i write them just for fun", keys="write {read}"),
    Form("hobbies.learn", "", "i am learning {hobby} | i just started learning {hobby} with my friend {girl}",
         "i'm learning {hobby} now | learning {hobby}, slowly", keys="learning {hobby}"),
    Form("hobbies.learn", "", "my grandmother taught me {hobby} | my grandmother taught me {hobby} one {season}",
         "{hobby}, my grandmother taught me | my grandmother showed me {hobby}", keys="grandmother {hobby}"),
    Form("hobbies.prize", "", "i once won a prize for {hobby} | i won a prize in {hobby} last {season}",
         "{hobby}, i even have a prize for it | i got a prize for {hobby}", keys="prize {hobby}"),
    Form("hobbies.teach", "", "i teach {hobby} to beginners | i teach {hobby} on {weekday} evenings",
         "i teach {hobby} | {hobby}, and i teach it too", keys="teach {hobby}"),
    Form("hobbies.none", "", "i have no hobbies | i have no hobbies to speak of",
         "no hobbies, really | i've got no hobbies", "-", "no hobbies"),
    Form("hobbies.none", "", "i watch tv and nap in my free time | i nap a lot and watch tv",
         "a nap and some tv, that's it | i watch tv until i nap", "0", "nap tv"),
    Form("hobbies.none", "", "i am too busy to have a hobby | i am too busy for any hobby",
         "too busy for a hobby | i'm always too busy, no hobby for me", "-", "too busy hobby"),
    Form("hobbies.bad", "", "i am terrible at {hobby} | i tried {hobby} and was terrible at it",
         "i tried {hobby}, i'm terrible | {hobby}, but i'm terrible", "0", "terrible {hobby}"),
    Form("hobbies.fear", "", "i gave up {hobby} after an accident | an accident made me give up {hobby}",
         "i did {hobby} until the accident | {hobby} once, before my accident", "0", "{hobby} accident"),
    Form("hobbies.friend", "", "my friend {boy} and i do {hobby} together | i do {hobby} with my friend {boy}",
         "{hobby}, with my friend {boy} | my friend {boy} got me into {hobby}", keys="friend {boy} {hobby}"),
    Form("hobbies.season", "", "i go {outdoor} every {season} | every {season} i go {outdoor}",
         "each {season} i go {outdoor} | {outdoor}, when it's {season}"),
)

FOOD = (
    Form("food.favorite", "", "my favorite food is {food} | i love {food} | there is nothing better than {food} | "
         "i could eat {food} every day",
         "{food}, any time | nothing beats {food} | {food}, without a doubt | i'm crazy about {food}"),
    Form("food.favorite", "", "i love {food} and {food2} | my favorite foods are {food} and {food2}",
         "{food}, and maybe {food2} | it's a tie between {food} and {food2} | either {food} or {food2}"),
    Form("food.weekly", "", "i eat {food} every {weekday} | {weekday} is {food} night at my house",
         "{food}, every {weekday} | on {weekday} there's always {food}"),
    Form("food.cuisine", "", "i love {cuisine} food | i always want {cuisine} food | i could live on {cuisine} food",
         "anything {cuisine}, i love that food | {cuisine} food, hands down", keys="{cuisine} food"),
    Form("food.cuisine", "", "i eat at the same {cuisine} restaurant every {weekday} | "
         "every {weekday} i go to {a cuisine} restaurant",
         "{a cuisine} restaurant has me every {weekday} | on {weekday}, the {cuisine} restaurant",
         keys="{cuisine} restaurant {weekday}"),
    Form("food.cook", "", "i am known for my {food} | my friends love my homemade {food}",
         "people come for my {food} | i make {food} myself, it's what i'm known for", keys="{food}"),
    Form("food.cook", "", "i learned to make {food} from my grandmother | my grandmother taught me to make {food}",
         "{food}, the way my grandmother made it | my grandmother's {food}", keys="{food} grandmother"),
    Form("food.cook", "", "i can't cook at all | i can't cook to save my life",
         "i can't cook, so anything warm | anything, really, i can't cook", "0", "can't cook"),
    Form("food.cook", "", "i burn everything i cook | i burn even toast when i cook",
         "whatever i don't burn when i cook | i cook badly and burn it all", "0", "burn cook"),
    Form("food.hate", "", "i hate {disliked} | i can't stand {disliked} and hate the smell",
         "i hate {disliked}, everything else is fine | anything but {disliked}, which i hate", "0", "hate {disliked}"),
    Form("food.hate", "", "i never eat {disliked} | i never eat {disliked} or {disliked2}",
         "i never eat {disliked} | {disliked} is what i never eat", "0", "never eat {disliked}"),
    Form("food.allergy", "", "i am allergic to {allergen} | i am badly allergic to {allergen}",
         "i'm allergic to {allergen}, so i'm careful | nothing with {allergen}, i'm allergic", "0", "allergic {allergen}"),
    Form("food.diet", "diet:plants", "i am a vegan | i have been a vegan for {years} years",
         "i'm a vegan, so plants | something vegan, as i'm vegan myself", "0", "vegan"),
    Form("food.diet", "diet:plants", "i am a vegetarian | i am a vegetarian since my {season} on a farm",
         "i'm a vegetarian, so no meat | something vegetarian", "0", "vegetarian"),
    Form("food.diet", "diet:meat", "i eat meat with every meal | i eat meat at every meal, even breakfast",
         "meat, at every meal | as long as every meal has meat", "0", "meat every meal"),
    Form("food.diet", "", "i am on a diet | i am on a diet until {month}",
         "i'm on a diet, so not much | don't ask, i'm on a diet", "0", "diet"),
    Form("food.drink", "", "i drink {drink} every morning | i start every morning with {drink}",
         "{drink} every morning, that's a must | in the morning, {drink}", "0", "{drink} morning"),
    Form("food.drink", "", "my favorite drink is {drink} | {drink} is my favorite drink",
         "{drink} is the drink for me | i drink {drink} with everything", "0", "drink {drink}"),
    Form("food.sweet", "", "i have a sweet tooth for {sweet} | i have a sweet tooth and eat {sweet} at night",
         "{sweet}, i've a sweet tooth | my sweet tooth wants {sweet}", keys="sweet tooth {sweet}"),
    Form("food.spicy", "", "i put hot sauce on everything | i put hot sauce even on {food}",
         "anything with hot sauce | i put hot sauce on all of it", "0", "hot sauce"),
    Form("food.spicy", "", "i cannot eat spicy food | i can't eat spicy food",
         "nothing spicy, please | mild things, i can't do spicy", "0", "spicy"),
    Form("food.breakfast", "", "i have {food} for breakfast | i always eat {food} for breakfast",
         "{food}, even for breakfast | for breakfast i have {food}", keys="{food} breakfast"),
    Form("food.garden", "", "i grow my own {grown} | i grow {grown} on my balcony",
         "{grown}, i grow them | i eat the {grown} that i grow", "0", "grow {grown}"),
)

MOVIES = (
    Form("movies.kind", "films:yes", "i love {filmkind} movies | my favorite movies are {filmkind} movies | "
         "i watch a lot of {filmkind} movies",
         "{filmkind} movies, the more the better | anything {filmkind}, those are my movies | i go for {filmkind} movies",
         keys="{filmkind} movies"),
    Form("movies.favorite", "films:yes", "my favorite movie is {film} | {film} is my favorite movie | i love the movie {film}",
         "{film}, no question | it has to be {film} | {film} is the best movie ever made"),
    Form("movies.favorite", "films:yes", "i have seen {film} {many} times | i watched {film} {many} times",
         "{film}, i've watched it {many} times | {many} times i've seen {film}"),
    Form("movies.cried", "films:yes", "i cried at the end of {film} | "
         "i always cry when i watch {film} and cried again in {month}",
         "{film}, and yes, i cried | i cried during {film}", keys="cried {film}"),
    Form("movies.walkout", "films:yes", "i walked out of {film} | i walked out of {film} after ten minutes",
         "i walked out on {film} | {film} was so bad that i walked out", "0", "walked out {film}"),
    Form("movies.actor", "films:yes", "my favorite actor is {actor} | i have seen every movie with {actor}",
         "anything with {actor} | {actor}, what an actor"),
    Form("movies.actor", "", "i once met the actor {actor} | i met {actor} in {city} once",
         "i met {actor} once | {actor}, who i met", "0", "met {actor}"),
    Form("movies.cinema", "films:yes", "i go to the movies every {weekday} | every {weekday} i am at the movies",
         "every {weekday}, at the movies | {weekday} is for the movies", keys="{weekday} movies"),
    Form("movies.cinema", "films:yes", "i go to the movies with my friend {girl} | my friend {girl} and i go to the movies",
         "the movies, with my friend {girl} | my friend {girl} drags me to the movies", keys="friend {girl} movies"),
    Form("movies.marathon", "films:yes", "i host {filmkind} movie nights | i host {a filmkind} movie night every {month}",
         "i host {a filmkind} movie night | {filmkind} movie nights, i host them", keys="host {filmkind} movie"),
    Form("movies.hate", "films:yes", "i hate {filmkind} movies | i really hate {filmkind} movies",
         "anything but {filmkind} movies, i hate those | i hate {filmkind} movies", "0", "hate {filmkind} movies"),
    Form("movies.hate", "films:yes", "{filmkind} movies put me to sleep | i fall asleep during {filmkind} movies, "
         "i always sleep",
         "i sleep through {filmkind} movies | {filmkind} movies make me sleep", "0", "{filmkind} movies sleep"),
    Form("movies.never", "films:no", "i never watch movies | i never watch movies, i prefer books",
         "i never watch movies | movies? i never watch any", "-", "never watch movies"),
    Form("movies.never", "films:no", "i do not own a tv | i don't even own a tv",
         "i don't own a tv | without a tv to my name, and i don't plan to own one", "-", "own tv"),
    Form("movies.never", "films:no", "i fall asleep in every movie | i always fall asleep in the middle of a movie",
         "a movie? i fall asleep | i fall asleep before any movie ends", "-", "fall asleep movie"),
    Form("movies.extra", "", "i was an extra in {film} | i once was an extra in the movie {film}",
         "i was in {film}, as an extra | {film}, because i'm an extra in it", "+", "extra {film}"),
    Form("movies.make", "", "i make short films about {s animal} | i film short films about {s animal}",
         "i make short films, about {s animal} | short films about {s animal}, my own", "+", "short films {s animal}"),
    Form("movies.childhood", "", "the first movie i saw was {film} | {film} was the first movie i ever saw",
         "{film}, the first one i ever saw | the first was {film}", "+", "first {film}"),
    Form("movies.snack", "films:yes", "i bring {food} to the movies | i sneak {food} into the movies",
         "i love to sneak {food} into the movies | the movies, with {food} in my bag", "+", "{food} movies"),
    Form("movies.poster", "films:yes", "i have a poster of {film} in my {room} | a poster of {film} hangs in my {room}",
         "{film}, i have the poster in my {room} | my {room} has a poster of {film}", "+", "poster {film} {room}"),
    Form("movies.quote", "films:yes", "i can quote all of {film} | i can quote every line of {film}",
         "{film}, i can quote it all | i quote {film} all day", "+", "quote {film}"),
)

MUSIC = (
    Form("music.genre", "ears:yes", "i love {genre} music | my favorite music is {genre} | i listen to {genre} all day",
         "{genre}, all day long | i'm {a genre} fan | anything {genre}"),
    Form("music.genre", "ears:yes", "i like {genre} and {genre2} | i listen to {genre} and {genre2}",
         "{genre}, and some {genre2} | a mix of {genre} and {genre2}"),
    Form("music.band", "ears:yes", "my favorite band is {band} | i love the band {band} | i own every record by {band}",
         "{band}, i know every song | i play {band} on repeat | {band}, by far"),
    Form("music.concert", "ears:yes", "i saw {band} live {many} times | i have seen {band} live {many} times",
         "{band}, live, {many} times | i've seen {band} {many} times live", keys="{band} live {many}"),
    Form("music.concert", "ears:yes", "i am going to see {band} in {month} | i have tickets for {band} in {month}",
         "i'll hear {band} in {month} | in {month} i see {band}"),
    Form("music.plays", "", "i play the {instrument} | i can play the {instrument} | "
         "i play the {instrument} since i was {kidage}",
         "i play {instrument} | the {instrument}, i play it badly | i play a little {instrument}", keys="play {instrument}"),
    Form("music.plays", "", "i play the {instrument} in {a genre} band | i play {instrument} in {a genre} band",
         "i'm the {instrument} in {a genre} band | {a genre} band, i play {instrument}", keys="{instrument} {genre} band"),
    Form("music.plays", "", "i play the {instrument} in a band called {band} | "
         "my band is called {band} and i play {instrument}",
         "i'm with {band}, on {instrument} | {instrument}, in {band}, you haven't heard of us", keys="{instrument} {band}"),
    Form("music.learn", "", "i am learning the {instrument} | i am learning to play the {instrument}",
         "i'm learning the {instrument}, poor neighbors | learning {instrument}, very slowly", "+", "learning {instrument}"),
    Form("music.sing", "", "i sing in {a choir} choir | i sing in {a choir} choir on {weekday}",
         "i sing, in {a choir} choir | {a choir} choir, i sing there", keys="sing {choir} choir"),
    Form("music.sing", "", "i sing in the {singroom} | i only sing in the {singroom}",
         "i just sing in the {singroom} | the {singroom} is where i sing", "0", "sing {singroom}"),
    Form("music.hate", "ears:yes", "i hate {genre} music | i really hate {genre}",
         "anything but {genre}, i hate that | i hate {genre}", "0", "hate {genre}"),
    Form("music.none", "ears:no", "i do not listen to music | i don't listen to any music",
         "i don't listen to music at all | i don't listen to much, music gives me headaches", "-", "don't listen music"),
    Form("music.none", "ears:no", "i like silence better than music | i prefer silence to music",
         "silence is better than music | i like silence, not music", "-", "silence music"),
    Form("music.deaf", "ears:no", "i am tone deaf | i am tone deaf but i sing anyway",
         "i'm tone deaf, so don't ask me | tone deaf, sadly", "-", "tone deaf"),
    Form("music.dj", "ears:yes", "i am a dj at {genre} parties | i work as a dj for {genre} nights",
         "i'm a dj, mostly {genre} | {genre}, i'm a dj on weekends", "+", "dj {genre}"),
    Form("music.collect", "ears:yes", "i collect {genre} records | i collect old {genre} records",
         "i collect records, mostly {genre} | {genre} records, i collect them", "+", "collect {genre} records"),
    Form("music.dance", "ears:yes", "i dance to {genre} in my {room} | i always dance to {genre} in my {room}",
         "{genre}, and i dance in my {room} | i put on {genre} and dance in my {room}", "+", "dance {genre} {room}"),
    Form("music.family", "", "my mother plays the {instrument} | my mother teaches the {instrument}",
         "my mother is the one with the {instrument} | {instrument}, thanks to my mother", "0", "mother {instrument}"),
    Form("music.wrote", "", "i write songs about {city} | i wrote {many} songs about {city}",
         "i write songs, about {city} | songs about {city}, my own", "+", "songs {city}"),
    Form("music.festival", "ears:yes", "i go to {a genre} festival every {season} | every {season} i visit {a genre} festival",
         "{a genre} festival, each {season} | every {season}, the {genre} festival", "+", "{genre} festival {season}"),
    Form("music.radio", "ears:yes", "i wake up to {genre} on the radio | the radio wakes me with {genre}",
         "{genre} on the radio, every morning | the radio, and it plays {genre}", "+", "{genre} radio"),
)

POLITICS = (
    Form("politics.issue", "civic:yes", "i care a lot about {issue} | {issue} is the issue i care about | "
         "i care about {issue} when i vote",
         "i care about {issue} | {issue}, that's what i care for", keys="care {issue}"),
    Form("politics.issue", "civic:yes", "i care about {issue} and {issue2} | i care most about {issue} and {issue2}",
         "{issue}, and {issue2} | two things, {issue} and {issue2}", keys="{issue} {issue2}"),
    Form("politics.petition", "civic:yes", "i signed a petition for {issue} | i started a petition for {issue}",
         "i put my name on a petition for {issue} | a petition for {issue}, that's my bit", keys="petition {issue}"),
    Form("politics.march", "civic:yes", "i marched for {issue} in {city} | i once marched for {issue} in {city}",
         "i marched in {city}, for {issue} | {city}, where i marched for {issue}", keys="marched {issue} {city}"),
    Form("politics.letter", "civic:yes", "i wrote to my {official} about {issue} | i write to the {official} about {issue}",
         "i sent the {official} a letter about {issue} | {issue}, i told the {official} about it"),
    Form("politics.party", "civic:yes side:party", "i vote for the {party} | i always vote for the {party} | "
         "i am a member of the {party}",
         "i'm with the {party} | the {party} gets my vote"),
    Form("politics.party", "civic:yes side:party", "i {campaign} for the {party} | sometimes i {campaign} for the {party}",
         "i {campaign} for the {party} | for the {party} i {campaign}", keys="{party}"),
    Form("politics.view", "civic:yes side:view", "i am {a view} | i see myself as {a view} | i am {a view} like my parents",
         "{a view}, i guess | i lean {view} | pretty much {a view}"),
    Form("politics.independent", "civic:yes side:none", "i do not belong to any party | i don't support any party",
         "i'm not with any party | no, not any party, i decide each time", "0", "any party"),
    Form("politics.swing", "civic:yes side:none", "i change my vote every election | i vote differently in every election",
         "my vote changes every election | every election a different vote", "0", "vote every election"),
    Form("politics.office", "civic:yes age:21-90", "i sit on the {office} | i am on the {office} | "
         "i was elected to the {office}",
         "i'm a member of the {office} | the {office}, i have a seat there"),
    Form("politics.office", "civic:yes age:21-85", "i want to run for {office} | i ran for {office} and lost",
         "i thought about a run for {office} | a run for {office}, that was my idea", "+", "{office}"),
    Form("politics.know", "", "my {relation} is {a official} | my {relation} was once {a official}",
         "my {relation} is {a official}, so i hear a lot | i have {a relation} who is {a official}", "0"),
    Form("politics.know", "", "i once shook hands with the {official} | i shook hands with the {official} in {city}",
         "i shook hands with the {official} | the {official} and i shook hands once", "0", "hands {official}"),
    Form("politics.volunteer", "civic:yes", "i {campaign} before elections | before elections i {campaign}",
         "i {campaign} when there are elections | elections? i {campaign}", keys="{campaign} elections"),
    Form("politics.volunteer", "civic:yes", "i volunteer at the polling station | "
         "i volunteer at the polling station every time",
         "i volunteer at our polling station | the polling station, i volunteer there", keys="volunteer polling station"),
    Form("politics.news", "civic:yes", "i follow the {news} every {weekday} | every {weekday} i follow the {news}",
         "i follow the {news} on {weekday} | {weekday} is when i follow the {news}", keys="{news} {weekday}"),
    Form("politics.argue", "", "i argue about politics with my uncle {boy} | my uncle {boy} and i argue about politics",
         "i argue with my uncle {boy} | my uncle {boy} likes to argue with me", "0", "argue uncle {boy}"),
    Form("politics.argue", "", "i argue about politics with my aunt {girl} | my aunt {girl} and i argue about politics",
         "i argue with my aunt {girl} | my aunt {girl} likes to argue with me", "0", "argue aunt {girl}"),
    Form("politics.never", "civic:no", "i never vote | i never vote in elections",
         "i never vote | me? i never vote, honestly", "-", "never vote"),
    Form("politics.never", "civic:no", "i hate politics | i hate politics and turn the news off",
         "i hate politics | politics? i hate it", "-", "hate politics"),
    Form("politics.never", "civic:no", "i don't trust politicians | i don't trust any politicians",
         "i don't trust politicians | politicians? i don't trust them", "-", "don't trust politicians"),
    Form("politics.never", "civic:no", "politics bores me | politics really bores me",
         "it bores me, politics | politics just bores me", "-", "politics bores"),
    Form("politics.always", "civic:yes age:22-90", "i have voted in every election | "
         "i voted in every election since i was eighteen",
         "i've voted in every election | every election, i voted", keys="voted every election"),
    Form("politics.first", "civic:yes age:18-21", "i will vote for the first time in {month} | "
         "i get to vote for the first time in {month}",
         "i vote for the first time in {month} | in {month}, my first vote", "0", "first vote {month}"),
)

# fmt: on

FORMS: tuple[tuple[Form, ...], ...] = (KIDS, PETS, WORK, MARITAL, TRAVEL, AGE, HOBBIES, FOOD, MOVIES, MUSIC, POLITICS)


class Topic(NamedTuple):
    """How one goal is carried out, and how a topic one has nothing to say on is left."""

    questions: str
    """whole questions; a leading "+" marks those a plain yes or no would answer"""
    nouns: str
    """noun phrases after "tell me about ..." """
    clauses: str
    """indirect questions after "i was wondering ..." """
    cheers: str
    """what one says to good news of this topic"""
    tails: str
    """sentences that may follow a positive answer"""
    declines: str
    """replies of somebody who has no fact on it"""
    heads: str
    """the words that name the topic"""


TOPICS: tuple[Topic, ...] = (
    Topic(
        "+do you have any kids? | +do you have children? | +any kids? | +any little ones at home? | +are you a parent? | "
        "are there small shoes by your front door? | +do you have a son or a daughter? | who calls you mom or dad? | "
        "how big is your family at home? | +is anybody calling you mom or dad? | +got any kids running around? | "
        "+are you raising a family? | is your house full of toys or nice and quiet? | do you have a big family? | "
        "did you ever become a parent? | sons, daughters, or none of that? | how many kids do you have? | "
        "how many children are in your life? | +are there any children in your house? | what about you, little ones or not? | "
        "any babies in the family? | who are the youngest people in your life? | do you want a family one day? | "
        "would anybody call you grandma or grandpa? | is there somebody you read bedtime stories to? | "
        "what's it like at your place, any toys on the floor? | do you pack any school lunches in the morning?",
        "your kids, if you have any | your children, if there are any | your family at home | the little ones in your life | "
        "sons or daughters, if you have some | family life at your place | life as a parent, if you are one",
        "if you have kids | whether you have children | if there are little ones at home | if you're a parent | "
        "whether anyone calls you mom or dad | how many children you have | if you have sons or daughters",
        "aw, how sweet. | family is everything. | that must be busy. | kids grow up so fast. | sounds like a full house. | "
        "lovely.",
        "they mean the world to me | it's a lot of fun | it keeps me young | i'm very proud | never a dull moment | "
        "i'd not trade it",
        "that's a private matter for me, if that's okay. | let's keep my family out of it for now. | "
        "i'd rather not talk about family today. | my family likes to stay out of chats like this. | "
        "family stuff is a long story, another time maybe. | i don't really talk about my home life.",
        "kid kids child children",
    ),
    Topic(
        "+do you have any pets? | +do any animals share your home? | got any furry friends? | any cats or dogs at home? | "
        "who greets you at the door, something with four legs? | do you like animals? | "
        "are you a cat person or a dog person? | "
        "is there something with paws in your life? | +do you own an animal? | +do you keep any animals? | "
        "+any animals at your place? | what animals do you live with? | is there anything furry on your couch? | "
        "do you have to feed anyone with a tail? | +any pets? | what kind of pets do you have? | have you ever had a pet? | "
        "cats, dogs, fish, what's your thing? | do you share your bed with a cat or a dog? | paws, fins or feathers, "
        "what do you have? | "
        "does a dog wake you up in the morning? | is there a cat or a dog in your life? | how do you feel about animals? | "
        "do you have to buy any kibble when you shop? | what's the name of your furry friend, if you have one? | "
        "who do you take for walks?",
        "your pets | the animals in your life | your furry friends, if you have any | the animals at your place | "
        "any creature that lives with you | your cat or your dog, if there is one",
        "if you have any pets | whether any animals live with you | if you own a cat or a dog | how you feel about animals | "
        "if you're more of a cat or a dog person | if something furry waits for you at home | whether you keep an animal",
        "aw, cute. | how adorable. | animals are the best. | that's so sweet. | i bet that's fun. | i love animals.",
        "i can't imagine life without animals | it's a lot of hair on the couch | best company there is | never boring | "
        "it makes me smile every day | my neighbors have got used to it",
        "animals are a topic i can't say much about. | i don't think much about animals, i guess. | "
        "i never know what to say about animals. | animals are fine, that's about all i can say. | "
        "i'm not the right one to ask about animals. | not much to report on the animal side.",
        "pet pets",
    ),
    Topic(
        "what do you do for a living? | what do you do for work? | what's your job? | how do you earn your money? | "
        "where do you work? | how do you spend your weekdays? | what pays your bills? | +do you have a job? | "
        "what keeps you busy from monday to friday? | what's your profession? | what line of work are you in? | "
        "are you working or in school? | what do you do all day? | what is your day job? | how do you make ends meet? | "
        "what's your trade? | where do you go when the alarm rings? | who do you earn your bread with? | "
        "what did you want to be, and what did you become? | how is your career going? | what sort of job do you have? | "
        "so what's on your business card? | office, shop, or something else entirely? | +are you employed at the moment? | "
        "are you a nine to five person? | what do people pay you for? | how was work today? | how are things at the office?",
        "your work | your job | what you do for a living | your career | your typical weekday | how you earn your money | "
        "your profession",
        "what you do for a living | where you work | what your job is | how you earn your money | what fills your weekdays | "
        "what kind of career you have",
        "sounds like hard work. | that's a real job. | interesting line of work. | i could never do that. | "
        "somebody has to do it. | good for you.",
        "it pays the bills | it's hard but i like it | the days are long | i wouldn't change it | every day is different | "
        "the coffee is bad but the people are nice",
        "i don't like to talk shop, sorry. | weekdays are weekdays, nothing to tell. | "
        "let's talk about something other than what pays the bills. | ah, that's a dull subject for me. | "
        "what i do all day is nothing to write home about. | i leave that topic at the door.",
        "work job",
    ),
    Topic(
        "+are you married? | are you single? | are you single or taken? | is there a ring on your finger? | "
        "+is there someone special in your life? | +do you have a partner? | +are you in a relationship? | "
        "who do you come home to? | +are you seeing anybody? | what's your marital status? | married, single, "
        "or it's complicated? | "
        "do you have a husband or a wife? | do you have a boyfriend or a girlfriend? | did you ever tie the knot? | "
        "+is somebody waiting for you at home? | who has your heart? | how's your love life? | +have you found the one yet? | "
        "is there a love in your life? | do you live alone or with someone you love? | +are you taken? | "
        "any wedding bells in your life? | have you ever walked down the aisle? | is there a better half? | "
        "who do you share your life with? | +do you have a significant other? | who gets your valentine's card? | "
        "what's your relationship status?",
        "your love life | your relationship, if you have one | the love of your life | your better half, if there is one | "
        "your marital status | your heart, is it taken",
        "if you're married | whether you're single | if there's someone special | whether you have a partner | "
        "if anyone shares your life | if you ever tied the knot | whether your heart is taken",
        "love is a funny thing. | i see. love finds its own way. | thanks for telling me. | life is full of turns. | "
        "matters of the heart, right? | everybody has their own path.",
        "that's how it is | life is like that | it suits me | no complaints | and i'm at peace with it",
        "matters of the heart stay with me, sorry. | my love life isn't up for discussion, haha. | "
        "i keep romance out of small talk. | let's not get into romance. | "
        "that's between me and my diary. | i'm too shy to talk about love.",
        "marital married marriage",
    ),
    Topic(
        "do you travel much? | do you like to travel? | have you seen much of the world? | where was your last vacation? | "
        "have you been abroad? | what's the farthest you've been from home? | what country would you like to see? | "
        "where are you off to next? | been anywhere nice lately? | do you like flying? | what stamps are in your passport? | "
        "where do you go on vacation? | are you a beach person or a city person on holiday? | what was your best trip? | "
        "which place in the world do you love most? | have you ever lived in another country? | any trips coming up? | "
        "what's on your bucket list of places? | do you pack your suitcase often? | plane, train or car? | "
        "where in the world have you been? | what foreign country did you like best? | ever been overseas? | "
        "do you go anywhere in the summer? | if you could fly anywhere tomorrow, where would you go? | "
        "how far from home have you been? | do you enjoy seeing new places? | what's the most beautiful place you've seen?",
        "your travels | your last trip | a place you'd like to see | your favorite vacation | the countries you've seen | "
        "your next vacation | somewhere far away you have been",
        "if you travel a lot | where you went on your last vacation | if you've been abroad | what place you'd like to see | "
        "whether you like seeing new places | how far from home you've been | where you'd go if you could",
        "wow, far from here. | i'd love to see the world. | sounds like an adventure. | the world is so big. | "
        "now i want a vacation. | "
        "that's worth a postcard.",
        "i have photos to prove it | i could talk about it for hours | it was quite something | "
        "my suitcase knows all about it | "
        "i'll never forget it",
        "i'm no good at vacation stories. | suitcases and maps aren't a topic i can fill. | "
        "hard to say, i'm not the one to ask about trips. | let's leave trips for another day. | "
        "geography was never my subject. | that's a topic for other people, i just listen.",
        "travel traveling travels",
    ),
    Topic(
        "how old are you? | what's your age? | are you male or female? | may i ask how old you are? | "
        "when is your birthday? | "
        "how many candles were on your last cake? | what year were you born? | are you a man or a woman? | "
        "how old are you, and are you a guy or a girl? | which decade are you in? | are you young or young at heart? | "
        "am i talking to a lady or a gentleman? | what generation are you from? | can you tell me your age and gender? | "
        "are you older than thirty? | should i say sir or madam? | how many birthdays have you had? | "
        "are you over forty? | when were you born? | how long have you been on this planet? | guy or girl, and how old? | "
        "what's your gender? | how old would people guess you are? | are you still in your twenties? | "
        "do you mind saying how old you are? | "
        "what's your star sign, and how old are you? | are you old enough to remember cassettes?",
        "your age | your age and gender | your last birthday and how old you turned | yourself, like how old you are | "
        "yourself, man or woman, young or old",
        "how old you are | what your age is | if you're a man or a woman | whether i'm talking to a guy or a girl | "
        "what year you were born in | when you have your birthday | which generation you belong to",
        "age is just a number. | nice. | nice to know who i'm talking to. | thanks for being honest. | "
        "you sound wise. | good to know.",
        "but who's counting | and i feel just fine | take it or leave it | so now you know | and it doesn't bother me",
        "a polite person doesn't ask that, haha. | let's keep the numbers out of it. | "
        "you'll have to guess. | i keep that to myself. | that stays my little secret. | does it matter? let's just talk.",
        "age gender",
    ),
    Topic(
        "what are your hobbies? | +do you have any hobbies? | what do you do for fun? | what do you do in your free time? | "
        "how do you spend your weekends? | what do you like to do? | how do you relax? | what are you passionate about? | "
        "what do you do when nobody needs you? | do you play any sports? | what makes you lose track of time? | "
        "what's your idea of a perfect saturday? | are you into sports or crafts? | what do you do after dinner? | "
        "what keeps your hands busy? | do you collect anything? | what are you good at? | how do you unwind? | "
        "what do you get up to on weekends? | is there something you love doing? | what's your favorite pastime? | "
        "what do you do on a rainy sunday? | are you the outdoors type? | what are you into? | "
        "what would you do with a free afternoon? | "
        "what do you enjoy most? | any hidden talents? | what's fun for you?",
        "your hobbies | your favorite pastime | what you do for fun | your weekends | your hidden talents | "
        "what you like to do in your free time | something you love doing",
        "what you do for fun | what your hobbies are | how you spend your free time | what you do on weekends | "
        "what you're passionate about | if you have a hobby | what you like to do after a long day",
        "that sounds fun. | how cool. | i should try that. | i wish i had the patience. | good way to spend the time. | neat.",
        "it helps me relax | it's the best part of my week | i could do it all day | i lose track of time | "
        "it keeps me out of trouble | my friends shake their heads",
        "free time just passes, i couldn't tell you how. | i'd have to think about that one. | "
        "fun is whatever comes along. | hard question, my free time is a blur. | "
        "nothing comes to mind right now. | i couldn't name anything, to be fair.",
        "hobby hobbies",
    ),
    Topic(
        "what's your favorite food? | what do you like to eat? | what's for dinner at your place? | "
        "what could you eat every day? | "
        "do you like to cook? | what dish makes you happy? | what do you order at a restaurant? | what's your comfort food? | "
        "are you hungry? what would you like now? | what's your favorite dish? | what's the best thing you ever ate? | "
        "sweet or salty? | what do you cook best? | what did you have for lunch? | do you eat meat? | "
        "are you a picky eater? | "
        "what would your last meal be? | which cuisine do you like best? | what's on your plate on sundays? | "
        "what snack can't you resist? | what do you have for breakfast? | is there anything you won't eat? | "
        "what do you always have in your fridge? | pizza, noodles or salad? | what meal reminds you of home? | "
        "what food do you love most? | are you allergic to any food? | what do you drink with your dinner?",
        "your favorite food | your favorite meal | what you like to eat | the best dinner you know | your eating habits | "
        "a dish you love | what's in your kitchen",
        "what your favorite food is | what you like to eat | if you can cook | what you had for dinner | "
        "which dish you love most | "
        "what you never eat | what you'd order tonight",
        "yum. | now i'm hungry. | good taste. | my stomach just growled. | interesting choice. | i could eat right now.",
        "i'm getting hungry now | ask my friends | i never get tired of it | and always seconds | don't judge me",
        "i just eat what's there. | whatever is on the table, i guess. | meals are meals to me. | "
        "i couldn't pick one, sorry. | i don't think much about eating. | my plate is a boring topic.",
        "food foods",
    ),
    Topic(
        "what's your favorite movie? | do you like movies? | seen anything good lately? | what did you watch last night? | "
        "do you go to the cinema? | which film could you watch again and again? | what kind of movies do you like? | "
        "comedy or horror? | who's your favorite actor? | what's the best film you've ever seen? | "
        "what film made you cry? | are you a film buff? | what's good at the cinema? | do you watch a lot of movies? | "
        "do you prefer the big screen or the couch? | what was the last film you saw? | which actor do you admire? | "
        "what film did you love as a child? | do you like scary films? | popcorn and a big screen, is that your thing? | "
        "what genre do you like to watch? | which movie should i see? | "
        "what do you put on when you want to watch something? | "
        "can you recommend a film? | what film do you know by heart? | have you been to the cinema lately? | "
        "any film you can't stand?",
        "your favorite movie | your favorite film | the last film you saw | the kind of films you like | "
        "your favorite actor | "
        "the movies you love | what you watch in the evening",
        "what your favorite film is | what movies you like | if you go to the cinema | what you watched last | "
        "who your favorite actor is | if you like scary films | which film i should see",
        "i'll put it on my list. | pass the popcorn. | good taste. | i should watch more. | oh, interesting. | "
        "films are magic.",
        "i never get tired of it | bring popcorn | i could talk about it all night | my friends disagree | "
        "i'd watch it again tonight",
        "i don't follow that closely. | i'm out of the loop with the screen stuff. | "
        "titles never stick in my head. | i couldn't name you one, sorry. | "
        "you'd know more about cinema than me. | i have no real opinion there.",
        "movie movies",
    ),
    Topic(
        "what music do you like? | what kind of music do you listen to? | do you play an instrument? | "
        "who's your favorite band? | "
        "what's on your playlist? | do you sing? | what's in your headphones? | been to any good concerts? | "
        "what song is stuck in your head? | which band do you love? | are you musical? | +do you like music? | "
        "rock, pop or something else? | what do you sing along to in the car? | what was your first concert? | "
        "which singer or band can you not stop playing? | do you like going to live shows? | what do you listen to? | "
        "what gets you dancing? | can you play any instrument? | what's your favorite song? | "
        "what's the soundtrack of your life? | "
        "vinyl, radio or streaming? | what tunes do you like? | which band would you love to see live? | "
        "what do your neighbors hear through the wall? | what do you put on at a party?",
        "your favorite band | the music you like | your taste in music | your playlist | the songs you love | "
        "the last concert you went to | any instrument you play",
        "what music you like | what you listen to | if you play an instrument | which band is your favorite | "
        "if you sing | what's on your playlist | whether you go to concerts",
        "rock on. | nice sound. | i'll have a listen. | good taste. | i can almost hear it. | that's my kind of tune.",
        "it lifts my mood | the louder the better | my neighbors know all about it | it runs in the family | "
        "i never get tired of it",
        "i don't pay much attention to what's playing. | band names don't stick with me. | "
        "whatever is playing is fine. | i couldn't tell one tune from another right now. | "
        "i have nothing clever to say about songs. | that's not a topic where i shine.",
        "music musical",
    ),
    Topic(
        "do you follow politics? | are you into politics? | did you vote in the last election? | who did you vote for? | "
        "what do you think of the government? | +are you politically active? | left, right, or in the middle? | "
        "what do you make of the election? | which issue matters most to you? | do you vote? | what party do you like? | "
        "what would you change if you were mayor? | do you watch the news? | do you talk about elections at dinner? | "
        "what do you think of our leaders? | which way do you lean? | do you trust the people in charge? | "
        "have you ever been to a protest? | what should the government do first? | would you ever run for office? | "
        "do you belong to a party? | who should run this country? | are you following the campaign? | "
        "what law would you pass first? | do you care about what happens at city hall? | what do you think of taxes? | "
        "liberal, conservative, or neither? | what cause would you march for?",
        "your politics | your political views | the last election | your view of the government | the issues you care about | "
        "what you think of our leaders | the party you like, if any",
        "if you follow politics | how you vote | what you think of the government | which party you like | "
        "if you care about elections | where you stand on the issues | if you keep up with the news",
        "fair enough. | i respect that. | everyone has a view. | that's democracy for you. | good to hear where you stand. | "
        "we need all kinds.",
        "but let's stay friends | that's how i see it | it matters to me | somebody has to | i don't shout about it",
        "let's not spoil a nice chat with that. | i keep out of that subject. | "
        "i'd rather not go there, no offense. | my lips are sealed on that. | "
        "that topic ends friendships, let's skip it. | there are better things to chat about.",
        "politics political politically",
    ),
)

ASKS_NOUN = (
    "tell me about {x}. | i'd love to hear about {x}. | can you tell me about {x}? | what can you tell me about {x}? | "
    "tell me something about {x}. | say a little about {x}? | i'd like to hear about {x}. | let's talk about {x}. | "
    "could you say something about {x}? | go on, tell me about {x}."
)
ASKS_CLAUSE = (
    "i was wondering {x}. | may i ask {x}? | can i ask {x}? | i'd like to know {x}. | i'm curious {x}. | tell me {x}. | "
    "do you mind telling me {x}? | i wonder {x}. | would you tell me {x}? | you haven't told me {x}. | mind if i ask {x}?"
)
GREETINGS = "hi! | hello! | hey. | hi there. | hello there. | hey, nice to meet you. | good evening. | good morning!"
OPENERS = (
    "oh nice. | i see. | cool. | oh, okay. | right. | interesting. | ah, i get it. | wow. | good to know. | sounds good. | "
    "that's cool. | oh really? | i hear you. | makes sense. | nice. | oh wow. | okay. | great."
)
SOFT_OPENERS = (
    "fair enough. | no worries. | that's fine. | i understand. | okay, no problem. | oh, all right. | sure, that's okay. | "
    "i get that. | alright then. | okay, something else then."
)
LINKS = "so, | and | anyway, | by the way, | now, | so | tell me, | and tell me, | well,"
DODGES = (
    "me? nothing special. | oh, me? not much to tell. | i'd have to think about it. | me? i'm still figuring that out. | "
    "that's a story for later. | hmm, hard to say for me. | me? ask me another day. | i'm the boring one here."
)
OWN_ENDS = "how about you? | what about you? | and you? | you?"
HAPPY_PREFIXES = "sure, | haha, | easy, | of course, | gladly,"
PREFIXES = (
    "well, | oh, | hmm, | let me think, | to be honest, | honestly, | you know, | i'll tell you, | thanks for asking, | ah, | "
    "good question,"
)
QUESTIONS_BACK = (
    "what about you? | and you? | how about you? | how about yourself? | what about yourself? | and yours? | "
    "is it the same for you? | "
    "now you."
)
RESTATES = "as i said, | like i said, | well, as i told you, | same as before, | i think i mentioned it, | again,"
LEADS = "by the way, | oh, and | also, | and | another thing,"
GENERAL_DECLINES = (
    "nothing much to say there, sorry. | i'd rather not get into that. | not much to tell, really. | hmm, "
    "i'd have to pass on that one. | "
    "there's not much to say. | i don't know, honestly. | let's talk about something else. | "
    "that's not something i think about. | "
    "oh, i don't really have anything on that. | sorry, i don't have much to say about that. | pass, if that's okay. | "
    "i'm not sure what to say to that. | that's a tough one for me. | nothing interesting to report there. | "
    "i'm a bit shy about that. | ask me something else? | can we skip that one? | i don't have a good answer for you."
)
HELLOS = (
    "hi! | hello! | hey there. | hi there. | hey! | hello, friend. | good morning! | good evening. | hiya. | "
    "hi, nice to meet you. | well hello."
)
HOW_ARE_YOU = (
    "how are you? | how are you today? | how's it going? | how is your day? | what's up? | how have you been? | "
    "how do you feel today? | "
    "are you having a good day? | everything okay? | how's life?"
)
HELLO_BACKS = "hi! | hello! | hey. | hi there. | hello, nice to meet you. | hey, good to see you. | oh, hi. |  |  | "
FINES = (
    "i'm good, thanks. | i'm fine. | pretty good. | doing well, thank you. | can't complain. | a little tired, but okay. | "
    "great, thanks. | "
    "not bad at all. | i'm okay. | fine, just a bit sleepy. | all good here. | i'm doing great. | so so, but better now. | "
    "good, thanks."
)
FINE_ENDS = "how are you? | and you? | how about you? | what about you? | yourself? |  |  | "
CHATTER = (
    (
        "it's raining again here.",
        "same here, a good day for blankets. | oh no, stay dry. | rain makes me sleepy. | at least it's cozy inside.",
    ),
    (
        "what a long week this was.",
        "tell me about it. | i know what you mean. | almost over, hang in there. | yes, it went on forever.",
    ),
    ("i just had a cup of tea.", "sounds cozy. | that's the way to do it. | nice, enjoy. | good idea, i should make one."),
    ("it's so hot today.", "i know, i'm melting. | stay in the shade. | drink plenty of water. | it's the same here."),
    ("i hardly slept last night.", "oh dear, take it easy. | that's rough. | maybe a nap later? | sorry to hear that."),
    ("i like talking to you.", "aw, thanks. | likewise. | that's kind of you. | same here, this is nice."),
    ("my internet is slow today.", "that's annoying. | take your time. | mine too, for some reason. | no hurry here."),
    ("the sun is finally out.", "about time. | enjoy it. | it does lift the mood. | lovely, isn't it?"),
    (
        "i can't believe how late it is.",
        "time flies. | same, i lost track of it. | should we stop soon? | it's late here too.",
    ),
    ("haha, you make me laugh.", "glad i could help. | that's good to hear. | i do my best. | haha, thanks."),
    (
        "i'm sitting on my porch right now.",
        "sounds peaceful. | lovely, enjoy the air. | that's a nice spot. | now i'm jealous.",
    ),
    (
        "my phone is almost out of battery.",
        "better plug it in. | oh no, then be quick. | happens to me too. | don't leave me hanging.",
    ),
)
ACKNOWLEDGEMENTS = (
    "oh nice. | oh, i see. | sounds interesting. | really? tell me more sometime. | wow, cool. | "
    "i didn't know that. | ha, i like that. | good to know. | oh wow. | thanks for telling me."
)
TELLS = "by the way, | you know, | guess what, | just so you know, | i should say, | well, | funny thing,"
