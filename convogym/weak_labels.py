"""Guesses which published goals a line carries out, from its words and its question form. Knows nothing of models or files.

For corpora without labels. Precision comes before recall: a line without a guess may well carry out a goal. On the dev split
of steered-talk, whose lines avoid the obvious words on purpose, 98 % of the guesses are right; they find 25 % of the labels.
Whoever measures how well models follow goals must judge by something else, because this lexicon labels training data.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from convogym.dialogue import Dialogue
from convogym.goals import PUBLISHED_GOALS

_WORD = re.compile(r"[a-z]+")
_SENTENCE = re.compile(r"[^.!?]+[.!?]*")
_YEAR = re.compile(r"\((?:19|20)\d\d\)")  # ReDial writes films as "Heat (1995)"
_SPELLINGS = str.maketrans({"\u2019": "'", "\u2018": "'", "`": "'", "\n": " ", "\t": " "})
_YOU = re.compile(r"\b(?:you|your|yours|u|ya|ur|you're|you've|you'd)\b")
_BOUNCE = re.compile(
    r"^\W*(?:(?:so|and|but|or|well)\b\W*)*"
    r"(?:(?:what|how) (?:about|bout|of) (?:you|u|yours|yourself|your end)(?: guys| all)?"
    r"|(?:you|u|yours|yourself)"
    r"|(?:do|are|have|did|can|would|were|don't|aren't|haven't) (?:you|u)"
    r"(?: too| also| either| as well| (?:like|love|enjoy|have|got|own) (?:it|them|that|one|any|some)(?: too)?)?)\W*\?+\s*$"
)
_MAX_FOLLOW_UP_WORDS = 7  # a question this short leans on the statement before it


# Word groups that the patterns below name in angle brackets.
_GROUPS: dict[str, str] = {
    "you": "(?:you|u|ya|y'all)(?: guys| two| all)?",
    "some": r"(?:\w+[ ,]+){0,3}?",  # up to three words in between
    "word": r"(?:\w+ )?",
    "is": "(?:'?s| is| are|'re|)",  # "what's", "whats", "what is", "what"
    "favorite": "(?:favou?rite|fav|fave)",
    "kind": "(?:kind|type|sort|genre|style)s?(?: of)?",
    "end": r"\s*(?:\?|$)",
    "asked": r"\b[^.!]*\?",  # the question goes on to its mark
    "kids": "(?:kids|children|grandkids|grandchildren|sons?|daughters?|little ones|toddlers?|stepkids|stepchildren)",
    "pets": (
        "(?:pets?|dogs?|dogg(?:y|ies)|cats?|pupp(?:y|ies)|pups?|kittens?|kitt(?:y|ies)|hamsters?|parrots?|guinea pigs?"
        "|goldfish|rabbits?|bunn(?:y|ies)|ferrets?|pooch)"
    ),
    "job": ("(?:job|occupation|profession|career|line of work|boss|co-?workers?|colleagues|workplace|employer|work schedule)"),
    "trade": (
        "(?:nurse|teacher|lawyer|doctor|engineer|accountant|programmer|wait(?:er|ress)|cashier|manager|driver|writer|artist"
        "|chef|mechanic|electrician|plumber|construction worker|student)"
    ),
    "spouse": "(?:wife|husband|girlfriend|boyfriend|spouse|fianc[eé]e?|hubby|significant other|gf|bf|better half)",
    "place": (
        "(?:europe|asia|africa|australia|paris|london|italy|rome|france|germany|spain|greece|england|ireland|scotland|japan"
        "|tokyo|china|india|thailand|mexico|canada|brazil|peru|russia|egypt|hawaii|alaska|iceland|norway|sweden|switzerland"
        "|austria|vienna|prague|amsterdam|portugal|lisbon|turkey|israel|vietnam|bali|new zealand|cuba|costa rica|jamaica"
        "|the (?:caribbean|bahamas|grand canyon)|disney ?(?:land|world)|new york|nyc|(?:las )?vegas|california|florida|texas"
        "|chicago|san francisco|los angeles|miami|new orleans|yellowstone|yosemite|another country|other countries"
        "|(?:a )?foreign countr(?:y|ies))"
    ),
    "food": (
        "(?:foods?|meals?|dish(?:es)?|snacks?|desserts?|cuisines?|restaurants?|fruits?|vegetables?|ice cream|pizza|candy"
        "|breakfast|lunch|dinner|sandwich|things? to eat|toppings?|flavou?r|pasta|takeout)"
    ),
    "edible": (
        "(?:pizza|sushi|tacos?|pasta|seafood|steak|chocolate|ice cream|spicy|sweets|(?:ham|cheese)?burgers?|cheese|bacon"
        "|chicken|salads?|vegetables|veggies|fruit|meat|noodles|ramen|pancakes|waffles|candy|spaghetti|lasagna|curry"
        "|(?:mexican|italian|chinese|indian|thai|japanese|korean|asian|french|greek|vegan|spicy|junk|sea|fast) ?food)"
    ),
    "movie": (
        "(?:movies?|films?|cinema|trailer|sequel|prequel|box office|movie theat(?:er|re)s?|rom ?coms?|filmmakers?|oscars?)"
    ),
    "music": (
        "(?:music|songs?|bands?|concerts?|albums?|musicians?|rappers?|playlist|musical instruments?|lyrics|spotify|tunes?"
        "|karaoke)"
    ),
    "politics": (
        "(?:politics?|political(?:ly)?|politicians?|elections?|vot(?:e|es|ed|ing|ers?)|congress|senat(?:e|or)|democrats?"
        "|republicans?|parliament|prime minister|mayor|trump|obama|clinton|government|the president|presidents|presidential"
        "|(?:pay|raise|lower|higher|cut) taxes|liberals?|conservatives?|governor|(?:city |town |the )council|white house"
        "|immigration|gun control)"
    ),
}


@dataclass(frozen=True)
class _Rule:
    """How one goal shows in a lower-case line with single blanks."""

    triggers: frozenset[str]
    """words without one of which the rule is not even tried"""
    ask: re.Pattern[str]
    """question forms that are enough by themselves, with or without a question mark"""
    topic: re.Pattern[str]
    """enough inside a question"""
    statement: re.Pattern[str]
    """first-person statements which a bounced question ("and you?") turns into this goal"""
    veto: re.Pattern[str]
    """look-alikes, cut out of the line before anything else is tried"""
    is_talk: bool
    """the goal says "talk about": any question with the topic is enough, and so is a short one to "you" right after a sentence
    with it; else the question with the topic must itself speak to "you" """


def _any(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for any of several, their `<names>` filled in; each starts at a word's beginning."""
    filled = (re.sub(r"<(\w+)>", lambda name: _GROUPS[name[1]], pattern) for pattern in patterns)
    return re.compile(r"\b(?:" + "|".join(filled) + ")")


def _rule(
    triggers: str,
    *,
    ask: tuple[str, ...],
    topic: str,
    statement: tuple[str, ...],
    veto: tuple[str, ...],
    is_talk: bool = False,
) -> _Rule:
    bounded = (rf"(?:{look_alike})\b" for look_alike in veto)
    return _Rule(
        frozenset(triggers.split()), _any(ask), _any((rf"{topic}\b",)), _any(statement), _any(tuple(bounded)), is_talk
    )


# In the order of PUBLISHED_GOALS.
_RULES: tuple[_Rule, ...] = (
    _rule(
        "kid kids children child son sons daughter daughters grandkids grandchildren toddler toddlers mom mother dad father "
        "parent family ones baby babies stepkids stepchildren",
        ask=(
            r"(?:do|did|have|would|will) <you> <some>(?:have|got|want|raise|like) <some>(?:<kids>|kid|child|baby|babies)\b",
            r"(?:have|got) <you> (?:got )?(?:any )?<kids>\b",
            r"how old (?:are |is )?(?:your |of )?(?:<kids>|kid|baby)\b",
            r"how many <kids>(?: (?:do|have) <you>\b|<end>)",
            r"<you> (?:have|got|want) (?:any |some )?<kids>(?: too| also)? ?\?",
            r"do <you> have a (?:big |large )?family(?: of your own)?<end>",
            r"are <you> an? <word>(?:mom|mother|dad|father|parent)\b(?! (?:of|to) (?:a )?(?:cat|dog|pet))",
            r"any (?:kids|children|little ones|grandkids|grandchildren)<asked>",
            r"tell me <word>about your (?:<kids>|family)\b",
        ),
        topic=r"your <word>(?:<kids>|kid|baby)",
        statement=(
            r"(?:i|we)(?:'ve| have|'m| am) (?:\w+ ){0,3}(?:kids|children|sons?|daughters?|toddlers?|mom|mother|dad|father)\b",
        ),
        veto=(
            r"kids'? (?:movies?|films?|shows?|songs?|music|cartoons?|books?|meals?|games?)",
            r"only child|inner child|as (?:kids|children)|when you were <word>(?:kids|children)",
            r"(?:like|with|for|teach|teaching) (?:kids|children)",
            r"(?:fur|dog|cat) bab(?:y|ies)|baby boomers?",
        ),
    ),
    _rule(
        "pet pets dog dogs doggy doggies cat cats puppy puppies pup pups kitten kittens kitty kitties animal animals hamster "
        "hamsters parrot parrots pigs pig goldfish rabbit rabbits bunny bunnies ferret ferrets pooch fish bird birds horse "
        "horses turtle snake",
        ask=(
            r"(?:do|did|have|are|would) <you> <some>(?:have|got|own|like|love|want|keep) <some>(?:<pets>|animals)\b",
            r"(?:do|have) <you> <some>(?:have|got|own) (?:a|any) <some>(?:fish|birds?|horses?|turtles?|snakes?)\b",
            r"have <you> (?:got )?(?:any |a )?<pets>\b|<you> (?:have|got) (?:any )?<pets>(?: too| also)? ?\?",
            r"are <you> (?:a|an|more of a) <word>(?:cat|dog|animal|pet)s? (?:person|lover|fan|owner)\b",
            r"any (?:other )?(?:pets|dogs|cats|animals)<asked>",
            r"what (?:kind|type|breed|sort)s?(?: of)? (?:pets?|dogs?|cats?|animals?)(?: do(?:es)? <you>\b|<end>"
            r"| is (?:he|she|it)\b)",
            r"how many (?:pets|dogs|cats|animals) (?:do|have) <you>\b",
            r"tell me <word>about your <pets>\b",
            r"what<is> your <favorite> animals?\b",
        ),
        topic=r"your <word><pets>",
        statement=(
            r"(?:i|we)(?:'ve| have| own| got)(?: got)? (?:\w+ ){0,3}<pets>\b",
            r"i(?:'m| am) a (?:cat|dog|animal) (?:person|lover)\b",
            r"i (?:really )?(?:love|like|hate) (?:my )?(?:<pets>|animals)\b",
        ),
        veto=(
            r"(?:hot|corn|chili|snoop|reservoir|top|under|prairie) ?dogs?|(?:three|3) dog night|dog days|isle of dogs"
            r"|dog (?:food|fight|park)",
            r"cat ?woman|cat in the hat|cat stevens|pussy ?cat",
            r"pet ?(?:peeves?|sounds|shop|sematary)|secret life of pets",
        ),
    ),
    _rule(
        "work job jobs living occupation profession career boss coworker coworkers co workers colleagues workplace employer "
        "working employed works do retired worked",
        ask=(
            r"what (?:do|did|does) <you> (?:like to |\w+ )?do (?:for|as) (?:an? |your )?(?:living|work|job|career)\b",
            r"(?:where|who|when|what days) do <you> work\b(?! ?out)",
            r"do <you> (?:still |currently |also |even )?(?:work|have a <word>job)\b(?! ?out)",
            r"what job do <you> (?:do|have)\b|what are <you> doing for (?:work|a living)\b",
            r"what<is> your <favorite> (?:part|thing) (?:of|about) (?:the|that|your) job\b",
            r"what<is> your (?:current |day |dream |real )?(?:<job>|work)\b",
            r"what (?:kind|type|sort|line)s?(?: of)? (?:work|job|business|career)\b",
            r"how(?:'?s| is| was| did)? (?:your )?(?:new )?(?:work|job)(?: going| today| treating you)?<end>",
            r"are <you> (?:currently |still )?(?:working(?! out| on)|employed|retired)\b",
            r"how long have <you> (?:been (?:working|doing that job)|worked)\b(?! out)",
            r"what ma(?:de|kes) <you> (?:want to )?become an?\b",
            r"how did <you> (?:get into|become an?) that (?:job|work|field|career)\b",
            r"i(?:'m| am) an? (?:\w+ ){0,2}<trade>\b[^?]{0,60}\bwhat do <you> do<end>",
            # at the beginning of its clause: "when you're bored, what do you do?" asks about hobbies
            r"(?:^|(?<=[.!?] )|(?<=[.!?]))what do <you> do(?: there| now| by day)?<end>",
            r"(?:so|and|well|but|hi|hey|hello|oh|nice|cool|great|ok|okay|now)[, ]+what do <you> do(?: there| now"
            r"| by day)?<end>",
        ),
        topic=r"(?:your <word><job>|(?:like|love|enjoy|hate) (?:your|the) (?:job|work))",
        statement=(
            r"i <word>work (?:as|at|for|in|with|from)\b",
            r"i(?:'m| am) an? (?:\w+ ){0,2}<trade>\b",
            r"my (?:job|work) is\b",
            r"i just got (?:home|off|back) (?:from|of)? ?work\b",
        ),
        veto=(
            r"work(?:ing|ed)? ?outs?|work of art|boss (?:baby|fights?)",
            r"(?:does|did|would|will|could|might|can) (?:that|this|it) work|(?:how|what) (?:does|do|did) (?:it|that"
            r"|they|this) work",
        ),
    ),
    _rule(
        "married single dating divorced engaged wife husband girlfriend boyfriend spouse fianc fiance fiancee hubby other gf "
        "bf "
        "partner marriage relationship marital half seeing someone anyone widowed wedding together",
        ask=(
            r"are <you> (?:\w+ ){0,2}?(?:married|single(?! (?:mom|dad|mother|father))|divorced|engaged"
            r"|in a relationship|widowed"
            r"|seeing (?:someone|anyone)|dating(?: anyone| someone)?)\b(?! (?:in|about|with) (?:the|a|this|that) )",
            r"(?:do|have) <you> <some>(?:have|got) (?:a |an |any )?<word>(?:<spouse>|partner)\b",
            r"how long have <you>(?: both)? been (?:married|together|single|divorced|engaged)\b",
            r"have <you> (?:ever |been )?(?:been |gotten |got )?(?:married|divorced)\b",
            r"<you> married ?\?",
            r"(?:when|where) did <you> get married\b|do <you> <word>want to get married\b",
            r"marital status\b",
            r"is there (?:a|any) (?:mrs|mr|wife|husband|girlfriend|boyfriend)\b",
            r"any (?:wife|husband|girlfriend|boyfriend)<asked>",
        ),
        topic=r"your <word>(?:<spouse>|marriage|wedding)",
        statement=(r"i(?:'m| am) (?:\w+ ){0,2}(?:married|single|divorced|engaged|widowed)\b", r"i have a <word><spouse>\b"),
        veto=(
            r"(?:new|hit|latest|first|the|debut|song|every|a|his|her|their) singles?(?! (?:man|woman|guy|girl))",
            r"single (?:player|season|one|time)|married to the mob|wedding (?:songs?|playlist|band|dj)|your wife think",
            r"(?:songs?|music|band|movie) (?:\w+ ){0,5}wedding",
        ),
    ),
    _rule(
        "travel traveled travelled traveling travelling trip trips vacation vacations abroad country countries overseas visit "
        "visited places place destination been flying holiday holidays",
        ask=(
            r"(?:do|did|have|would) <you> <some>travel(?:l?ed)?\b",
            r"have <you> <word>(?:been|gone|travell?ed|flown|visited)(?: to| in)? (?:abroad|overseas"
            r"|out of (?:the )?(?:country|state|us)"
            r"|outside (?:of )?the \w+|<place>)\b",
            r"where (?:have|did|do|would|are|will) <you> (?:\w+ ){0,4}?(?:travel(?:l?ed|l?ing)?|visit|visited|vacation"
            r"|(?:for|on) (?:your )?(?:vacation|holiday))\b",
            r"what<is> <word>(?:of )?your <favorite> (?:destinations?|vacation|trip|country|countries)\b",
            r"what<is> <word>(?:of )?your <favorite> (?:places?|city) (?:(?:that )?you(?:'ve| have)|to (?:travel|visit"
            r"|vacation|go(?! \w+ing)))\b",
            r"(?:what|which|how many) (?:other )?(?:countries|country|places|cities|states) (?:have|did|would|do|are) <you> "
            r"(?:\w+ ){0,4}?(?:been|visit|visited|travel(?:l?ed)?)\b",
            r"do <you> (?:\w+ ){0,3}(?:go|take) (?:on )?<word>(?:vacations?|trips|holidays?)\b",
            r"have <you> <word>visited\b(?! (?:him|her|them|me|it|with|the (?:site|website|page)))",
        ),
        topic=r"(?:travel(?:l?ing|l?ed|s)?|vacations?|abroad|overseas|road ?trip|your (?:next|last|recent) (?:trip|holiday))",
        statement=(
            r"i (?:\w+ ){0,2}(?:love|like|enjoy|want|hate) (?:to )?travel(?:l?ing)?\b",
            r"i <word>travel(?:l?ed)? (?:to|a lot|all)\b",
            r"i(?:'ve| have) <word>been to <place>\b",
            r"(?:went|going) (?:on|to) (?:a )?(?:vacation|trip|holiday|<place>)\b",
        ),
        veto=(
            r"country (?:music|songs?|singers?|artists?|bands?|star|fan|genre|stuff|concerts?)|travell?ing wilburys",
            r"time travel(?:l?ing|l?er)?|travel(?:l?ing|s)? (?:through|in|back) (?:in )?(?:time|space)|(?:sound|light"
            r"|space) travels?",
            r"camping trip|a quiet place|vacation bible|(?:christmas|european|family) vacation|vacation movies?"
            r"|going on (?:a )?vacation in|(?:movies?|films?) about travel(?:l?ing)?",
        ),
        is_talk=True,
    ),
    _rule(
        "m am old age gender born young male female man woman girl boy guy teenager birthday lady older younger",
        ask=(
            r"how (?:old|young) (?:are|r) <you>\b(?! (?:thinking|talking))",
            r"how old did <you> say\b",
            r"what(?:'?s| is) (?:your|ur) (?:age|gender|sex)\b|what (?:age|gender) are <you>\b",
            r"(?:ask|know|tell me) <word>(?:your (?:age|gender)|how old <you> are)\b",
            r"(?:what year|when) were <you> born\b",
            r"are <you> (?:an? )?(?:male|female|man|woman|guy|girl|boy|lady)(?: or (?:an? )?\w+)?<end>",
            r"are <you> (?:in your (?:teens|twenties|thirties|forties|fifties|sixties|\d0s)|a teen(?:ager)?"
            r"|over (?:\d\d|thirty|forty|fifty|sixty))\b",
            r"are <you> (?:older|younger) than (?:me|i)\b",
            r"how old (?:were|will) <you>\b(?! when <you> (?:first |started? )?(?:saw|heard|watch|listen|read|it))",
        ),
        topic=r"(?:your age|old are you)",
        statement=(
            r"i(?:'m| am) <word>(?:\d\d|twenty|thirty|forty|fifty|sixty|seventy)(?:[ -](?:one|two|three|four|five|six"
            r"|seven|eight|nine))?"
            r"(?: years? old| yrs? old|,? (?:and )?(?:male|female|m|f)\b|\W*(?:and|how|what|you)|\W*$)",
        ),
        veto=(r"(?:people|men|women|kids|children|friends|someone|guys) your age",),
    ),
    _rule(
        "hobby hobbies fun free spare interests enjoy weekends weekend relax unwind pastime downtime down time do into bored "
        "passionate work",
        ask=(
            r"hobb(?:y|ies) (?:do|are|have) <you>\b|hobbies ?\?",
            r"what (?:do|did|would) <you> (?:\w+ ){0,4}?do(?:ing)? (?:for (?:fun|entertainment)|outside (?:of )?work"
            r"|after work"
            r"|to (?:relax|unwind|pass the time|have fun|keep busy)|(?:on|over|at|during) (?:the |your )?(?:weekends"
            r"|days? off)"
            r"|(?:in|on|with|during) (?:your|ur) <word>(?:free|spare|down|off|leisure|own)"
            r"|when <you>(?:'re| are|r)? ?(?:not (?:working|at work)|off|bored|free)|when <you> (?:are|do)n't work(?:ing)?)\b",
            r"how do <you> (?:\w+ ){0,3}?spend (?:your|ur|the) <word>(?:time|weekends|evenings|days off|downtime)\b",
            r"what (?:else )?(?:do|are) <you> <word>(?:like to do|enjoy doing|love to do|like doing|into"
            r"|passionate about)(?:<end>| besides)",
            r"what<is> <word>(?:of )?your <word>(?:hobb(?:y|ies)|interests|pastimes?"
            r"|<favorite> (?:things? to do|activit(?:y|ies)|past ?times?|ways? to (?:relax|unwind|spend)))\b",
            r"(?:do|have) <you> <some>(?:have|got) (?:any )?<some>(?:hobb(?:y|ies)|interests|pastimes?)\b",
            r"any (?:other )?(?:hobbies|interests)<asked>",
            r"what kinds? of (?:things|stuff|activities) (?:do|are) <you> <word>(?:do|doing|like|enjoy|into)\b",
        ),
        topic=r"(?:hobb(?:y|ies)|your (?:free|spare) time|for fun)",
        statement=(r"my hobb(?:y|ies)\b", r"for fun\b", r"in my (?:free|spare) time[, ]+i\b"),
        veto=(r"just for fun",),
    ),
    _rule(
        "food foods meal meals dish dishes snack snacks dessert desserts cuisine restaurant restaurants fruit eat "
        "eating breakfast "
        "lunch dinner pizza sushi taco tacos pasta seafood steak chocolate cream spicy sweets burgers hamburgers cheese bacon "
        "chicken salad salads vegetables veggies meat noodles ramen pancakes waffles candy spaghetti lasagna curry favorite "
        "favourite mexican italian chinese topping toppings sandwich",
        ask=(
            r"what<is> <word>(?:of )?(?:your|ur|you) <word><favorite> (?:\w+ ){0,2}?<food>\b",
            r"(?:do|have) <you> <some>(?:have|got) (?:a |any )?<favorite> <word><food>\b",
            r"what (?:kind|type|sort)?s?(?: of )?<word>(?:foods?|meals?|dish(?:es)?|cuisine|snacks|desserts?|pizza"
            r"|restaurants?) "
            r"(?:do|did|would|are) <you> <word>(?:like|love|eat|enjoy|prefer|crave|favou?r|into)\b",
            r"what (?:else )?(?:do|would) <you> <word>(?:like|love|want|enjoy|prefer) (?:to eat|eating)\b(?! out)",
            r"do <you> <word>(?:like|love|enjoy|eat|prefer) (?:to eat |eating )?<word><edible>\b",
            r"what do <you> <word>eat\b",
            r"your (?:go[ -]to|<favorite>) <word>(?:<food>|<edible>)<asked>",
            r"<favorite> foods? ?\?",
        ),
        topic=r"<favorite> <word>(?:<food>|<edible>)",
        statement=(
            r"my <favorite> <word><food> (?:is|are)\b",
            r"i <word>(?:love|like|enjoy|hate|eat) (?:to eat |eating )?<word><edible>\b",
            r"<edible> is my <favorite>\b",
        ),
        veto=(
            r"food (?:network|show|channel|packages?)|dinner (?:for schmucks|party)|breakfast (?:club|at tiffany'?s)",
            r"fruit ninja|chicken run|hot tub",
        ),
    ),
    _rule(
        "movie movies film films cinema trailer sequel prequel oscar oscars theater theatre theaters filmmaker "
        "filmmakers romcom "
        "romcoms rom year actor actress director actors actresses directors box",
        ask=(
            r"(?:have|did|do) <you> <word>(?:see|seen|watch|watched|like|enjoy) [^?!]{0,60}\(year\)",
            r"who<is> your <favorite> <word>(?:actor|actress|director|filmmaker)(?:es|s)?\b",
            r"what(?: was|<is>) <word>(?:a |the )?(?:good|best|last|<favorite>) <word>(?:movies?|films?)\b",
            r"what <kind> ?(?:movies?|films?) (?:do|did|are|have|would) <you>\b",
            r"what (?:movies?|films?) (?:do|did|are|have|would) <you>\b",
        ),
        topic="<movie>",
        statement=(r"i (?:\w+ ){0,2}(?:love|like|enjoy|watch|watched|saw|hate)\b[^.!?]*\b<movie>\b",),
        veto=(r"film (?:me|you|him|her|it|us)|(?:to|being|get) film(?:ed)?|(?:truck|huge|boat) trailers?",),
        is_talk=True,
    ),
    _rule(
        "music song songs band bands concert concerts album albums musician musicians rapper rappers playlist instrument "
        "instruments lyrics spotify guitar piano drums violin tune tunes karaoke listen listening sing rap",
        ask=(
            r"(?:what|who) (?:\w+ ){0,3}?(?:do|are|did) <you> (?:\w+ ){0,3}?(?:listen|listening) to\b",
            r"what (?:musical )?instruments? (?:do|did|can) <you> play\b",
            r"(?:do|can) <you> (?:\w+ ){0,3}?(?:sing|rap|play (?:any |an )?(?:musical )?instruments?"
            r"|play (?:the |any )?(?:guitar|piano|drums|violin))\b",
        ),
        topic="<music>",
        statement=(r"i (?:\w+ ){0,2}(?:love|like|enjoy|play|hate|listen to|sing in)\b[^.!?]*\b<music>\b",),
        veto=(
            r"band ?aids?|(?:rubber|wedding) bands?|band of brothers|swan songs?|tune in|(?:apart|aside) from (?:the "
            r"|your )?<music>",
            r"the (?:sound of music|music man)|surgical instruments?",
        ),
        is_talk=True,
    ),
    _rule(
        "politics politic political politically politician politicians election elections vote votes voted voting "
        "voter voters "
        "congress senate senator senators democrat democrats republican republicans parliament minister mayor trump "
        "obama clinton "
        "government president presidents presidential taxes liberal liberals conservative conservatives governor "
        "council house "
        "immigration gun",
        ask=(
            r"are <you> <word>(?:a )?(?:liberal|conservative|democrat|republican)\b",
            r"(?:do|did|will|are) <you> <word>vot(?:e|ing)\b(?! (?:for|on) (?:the )?(?:best|worst))",
        ),
        topic="<politics>",
        statement=(r"<politics>\b",),
        veto=(
            r"vice president of|(?:been |was |were )?voted (?:the |as )?(?:best|greatest|worst|most|into|off|number)",
            r"house of cards|(?:for|vs|against|beat) the senators|council of|george clinton|liberal arts"
            r"|conservative estimate|(?:have|got|get) my vote",
        ),
        is_talk=True,
    ),
)


def _carries(rule: _Rule, text: str) -> bool:
    text = rule.veto.sub(" ", text)
    if rule.ask.search(text):
        return True
    before = ""
    for sentence in _SENTENCE.findall(text):
        if sentence.endswith("?"):
            to_you = _YOU.search(sentence) is not None
            if (rule.is_talk or to_you) and rule.topic.search(sentence):
                return True
            # "i have two dogs, and you?" states and bounces in one sentence
            if _BOUNCE.search(sentence.rpartition(",")[2]) and (
                rule.statement.search(before) or rule.statement.search(sentence)
            ):
                return True
            if rule.is_talk and to_you and len(sentence.split()) <= _MAX_FOLLOW_UP_WORDS and rule.topic.search(before):
                return True
        before = sentence
    return False


def _own_goals(text: str) -> tuple[str, ...]:
    words = set(_WORD.findall(text))
    goals = zip(PUBLISHED_GOALS, _RULES, strict=True)
    return tuple(goal for goal, rule in goals if not rule.triggers.isdisjoint(words) and _carries(rule, text))


def _plain(text: str) -> str:
    return " ".join(_YEAR.sub("(year)", text.translate(_SPELLINGS)).lower().split())


def weak_goals(line: str, previous: str = "") -> tuple[str, ...]:
    """The published goals which a line clearly carries out, in the order of `PUBLISHED_GOALS`.

    Args:
        line: what the goal speaker says, in any casing and spacing.
        previous: the utterance before it, "" where it opens the talk: "no. do you?" asks what was asked just before.

    Returns:
        Goal texts; () where nothing is clear.
    """
    text = _plain(line)
    goals = _own_goals(text)
    if goals or not previous or "?" not in text:
        return goals
    last = (_SENTENCE.findall(text) or [""])[-1]
    return _own_goals(_plain(previous)) if _BOUNCE.search(last.rpartition(",")[2]) else ()


def label(dialogue: Dialogue) -> Dialogue:
    """The dialogue with a guess on every line that has no label (`goals` None); labelled lines stay as they are."""
    turns = []
    previous = ""
    for turn in dialogue.turns:
        turns.append(turn if turn.goals is not None else dataclasses.replace(turn, goals=weak_goals(turn.line, previous)))
        previous = turn.reply or ""
    return dataclasses.replace(dialogue, turns=tuple(turns))
